"""What the detection configs must not lose when they are edited; that they build is tested in test_configs.py."""

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from toy import ROOT

from ltmm import ClassDistribution
from ltmm.registry import MODELS

CONFIGS = sorted(path for folder in ('lvis', 'foda_lt') for path in (ROOT / 'configs' / folder).glob('*.py'))
EACH = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)


@EACH
def test_has_the_hooks_and_metric_of_the_house(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_hooks == Config.fromfile(ROOT / 'configs/_base_/default_runtime.py').custom_hooks
    assert cfg.default_hooks.checkpoint.type == 'ltmm.SafeCheckpointHook'
    assert cfg.default_scope == 'mmdet'
    assert cfg.train_dataloader.dataset.type == cfg.test_dataloader.dataset.type == 'ltmm.LVISDataset'
    assert cfg.val_evaluator == cfg.test_evaluator and cfg.test_evaluator.type == 'ltmm.LVISMetric'
    assert not cfg.train_dataloader.get('persistent_workers')


@EACH
def test_data_root_comes_from_the_environment(path, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', '/elsewhere')
    cfg = Config.fromfile(path)
    for place in (cfg.train_dataloader.dataset, cfg.test_dataloader.dataset):
        assert place.data_root.startswith('/elsewhere/')
    assert cfg.test_evaluator.ann_file.startswith('/elsewhere/')


def test_eql_on_lvis_is_the_papers_recipe():
    cfg, softmax = (Config.fromfile(ROOT / f'configs/lvis/{name}_r50.py').to_dict() for name in ('eql', 'softmax'))
    assert cfg['optim_wrapper']['optimizer']['lr'] == 0.02 and cfg['auto_scale_lr']['base_batch_size'] == 16
    assert cfg['train_cfg']['max_epochs'] == 12 and cfg['param_scheduler'][1]['milestones'] == [8, 11]
    assert cfg['model']['test_cfg']['rcnn']['max_per_img'] == 300
    with DefaultScope.overwrite_default_scope('mmdet'):
        loss = MODELS.build(cfg['model']['roi_head']['bbox_head'].pop('loss_cls'))
    loss.set_class_distribution(ClassDistribution([2000, 109, 110, 1], num_images=99388))  # lambda is 109.3 images
    assert loss.is_tail.tolist() == [0, 1, 0, 1]
    for config in (cfg, softmax):  # nothing else differs
        config['model']['roi_head']['bbox_head'] = None
    assert cfg == softmax
