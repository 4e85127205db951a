"""Detect on a machine that has the checkpoint and the config, but not the data."""

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from toy_lvis import CLASSES, detector_config, lvis_content, write_lvis

pytest.importorskip('mmcv.ops')

from mmdet.apis import DetInferencer


@pytest.mark.slow
def test_detection_without_the_annotation_file(tmp_path, capfd):
    write_lvis(tmp_path / 'data', lvis_content())
    cfg = detector_config(tmp_path / 'work', tmp_path / 'data')
    cfg.model.roi_head.bbox_head.loss_cls = dict(type='CrossEntropyLoss')  # which does not hold the class distribution
    Runner.from_cfg(cfg).train()
    checkpoint = tmp_path / 'work/epoch_1.pth'
    assert 'class_distribution' in torch.load(checkpoint, weights_only=True)['meta']
    (tmp_path / 'data/annotations.json').unlink()
    cfg.dump(tmp_path / 'cfg.py')
    capfd.readouterr()
    inferencer = DetInferencer(str(tmp_path / 'cfg.py'), str(checkpoint), device='cpu')
    assert 'unexpected key' not in ''.join(capfd.readouterr())
    assert inferencer.model.dataset_meta['classes'] == CLASSES
    (result,) = inferencer(np.zeros((64, 64, 3), np.uint8), no_save_vis=True)['predictions']
    assert set(result['labels']) <= set(range(len(CLASSES)))
