"""Recipes of ROG, NorCal and the experts on box heads; test_configs.py builds them."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from toy import ROOT
from toy_losses import prepare
from toy_lvis import CLASSES

from ltmm.registry import MODELS

pytest.importorskip('mmcv.ops')

C = len(CLASSES)
LVIS = ['rog_r50', 'rog_r101', 'rog_seesaw_r50', 'rog_seesaw_r101']
FODA = ['rog', 'norcal', 'fracal', 'logn', 'experts', 'sade', 'ride', 'lgla']
FODA = [f'{name}_faster-rcnn_mobilenetv2' for name in FODA]
CONFIGS = [f'lvis/{name}' for name in [*LVIS, 'rog_r50_lvis_mini']]
CONFIGS += [f'foda_lt/{name}' for name in FODA]


def read(name):
    return Config.fromfile(ROOT / f'configs/{name}.py')


@pytest.mark.parametrize('name', CONFIGS)
def test_training_step_of_the_box_head(name):
    cfg = read(name).model.roi_head.bbox_head
    cfg.update(num_classes=C, in_channels=8, fc_out_channels=16)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(cfg)
    prepare(head, [40, 20, 5, 1])
    label = torch.tensor([0, 0, 1, 3, C, C, C, C])
    outputs = head(torch.randn(8, 8, 7, 7))
    losses = head.loss(*outputs, torch.zeros(8, 5), label, torch.ones(8), torch.zeros(8, 4), torch.ones(8, 4))
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert ('loss_rank' in losses) == ('/rog' in name) and ('loss_expert2' in losses) == ('/experts' in name)


def test_rog_recipe_on_lvis():
    cfgs = {name: read(f'lvis/{name}') for name in LVIS}
    for name, cfg in cfgs.items():
        assert cfg.optim_wrapper.optimizer.lr == 0.02 and cfg.auto_scale_lr.base_batch_size == 16
        assert cfg.optim_wrapper.clip_grad.max_norm == 5
        assert cfg.train_dataloader.sampler == dict(type='ltmm.RepeatFactorSampler', threshold=1e-3)
        warm_up, steps = cfg.param_scheduler
        assert (warm_up.end, warm_up.start_factor) == (501, 1e-4)
        epochs = 24 if 'seesaw' in name else 12
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == steps.end == epochs
        assert steps.milestones == ([16, 22] if 'seesaw' in name else [8, 11])
        rcnn = cfg.model.test_cfg.rcnn
        assert (rcnn.score_thr, rcnn.max_per_img) == (1e-4, 300)
    heads = {name: cfg.model.roi_head for name, cfg in cfgs.items()}
    assert heads['rog_r50'].bbox_head.loss_cls.loss.type == 'ltmm.SigmoidCrossEntropyLoss'
    assert heads['rog_seesaw_r101'] == heads['rog_seesaw_r50']
    assert heads['rog_seesaw_r50'].bbox_head.cls_predictor_cfg == dict(type='NormedLinear')  # mmdet's scale is 20
    assert heads['rog_seesaw_r50'].mask_head.predictor_cfg == dict(type='NormedConv2d')
