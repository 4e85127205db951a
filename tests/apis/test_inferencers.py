"""The inferencers of mmpretrain and mmdet in a process that never imports ltmm itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from toy import ROOT
from toy_processes import run_program
from toy_trained import EXPERTS, MULTI_LABEL, NAMES, save_classifier, save_detector, write_image

from ltmm.apis.export import example_inputs
from ltmm.apis.predict import predict_batch
from ltmm.apis.trained_model import load_trained_model

PROGRAM = """
import json, sys
from mmdet.apis import DetInferencer
from mmpretrain import ImageClassificationInferencer
assert 'ltmm' not in sys.modules
folder, image = sys.argv[1:]
experts = ImageClassificationInferencer(f'{folder}/experts/toy.py', f'{folder}/experts/toy.pth', 'cpu')(image)[0]
labels = ImageClassificationInferencer(f'{folder}/labels/toy.py', f'{folder}/labels/toy.pth', 'cpu')(image)[0]
boxes = DetInferencer(f'{folder}/boxes/toy.py', f'{folder}/boxes/toy.pth', 'cpu')(image)['predictions'][0]
result = dict(
    experts=experts['pred_scores'].tolist(), name=experts['pred_class'], labels=labels['pred_scores'].tolist(),
    boxes=boxes['scores'],
)
try:
    ImageClassificationInferencer(f'{folder}/experts/toy.py', f'{folder}/evil.pth', 'cpu')
except Exception as e:
    result['evil'] = f'{type(e).__name__}: {e}'
print('RESULT' + json.dumps(result))
"""


class RunsCode:
    """A pickle of it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.slow
def test_inferencers_do_not_need_an_import_of_ltmm(tmp_path: Path):
    files = dict(
        experts=save_classifier(tmp_path / 'experts', **EXPERTS),
        labels=save_classifier(tmp_path / 'labels', head=MULTI_LABEL),
        boxes=save_detector(tmp_path / 'boxes'),
    )
    torch.save(dict(state_dict={}, meta=RunsCode(tmp_path / 'evil')), tmp_path / 'evil.pth')
    image = write_image(tmp_path / 'a.png')
    done = run_program('-c', PROGRAM, tmp_path, image)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.partition('RESULT')[2])
    expected = {}
    for name, (config, checkpoint) in files.items():
        trained = load_trained_model(Config.fromfile(config), str(checkpoint), 'cpu')
        (expected[name], *_) = predict_batch(trained, example_inputs(trained, [image]))
    for name in ('experts', 'labels'):
        np.testing.assert_allclose(result[name], expected[name].pred_score, rtol=1e-4)
    assert result['name'] == NAMES[int(expected['experts'].pred_label)]
    np.testing.assert_allclose(result['boxes'], expected['boxes'].pred_instances.scores, rtol=1e-4)
    assert 'Nothing was run' in result['evil']
    assert not (tmp_path / 'evil').exists()


@pytest.mark.parametrize(
    'config', ['cifar100_lt/ce_r32.py', 'cifar100_lt/cmo_r32.py', 'foda_lt/rfs_faster-rcnn_mobilenetv2.py']
)
def test_configs_import_ltmm(config: str, tmp_path: Path):
    """What a training dumps has the line; merging keeps it."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.dump(tmp_path / 'dumped.py')
    assert 'ltmm.engine' in Config.fromfile(tmp_path / 'dumped.py', import_custom_modules=False).custom_imports.imports
