"""Trainings with several views and an auxiliary objective: they resume exactly, in half precision and on two ranks."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

FLIP = dict(type='RandomFlip', prob=0.5)
CUTOUT = dict(type='Cutout', shape=4, prob=1.0)


def bcl_config(work_dir, **overrides):
    cfg = toy_config(work_dir, **overrides)
    channels = cfg.model.head.in_channels
    cfg.model.head = dict(
        type='ltmm.LongTailClsHead',
        num_classes=3,
        in_channels=channels,
        loss=dict(type='ltmm.BalancedSoftmaxLoss'),
        cls_views=1,
        aux_losses=[dict(type='ltmm.BalancedContrastiveLoss', in_channels=channels, feat_dim=8, weight=0.5)],
    )
    cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    views = dict(type='MultiView', num_views=[1, 2], transforms=[[FLIP], [FLIP, CUTOUT]])
    cfg.train_dataloader.dataset.pipeline = [views, dict(type='PackInputs', meta_keys=('sample_idx',))]
    return cfg


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'ltmm.CPUAmpOptimWrapper'])
def test_resume_equals_never_stopped(tmp_path, wrapper):
    options = {'optim_wrapper.type': wrapper}
    runner = Runner.from_cfg(bcl_config(tmp_path / 'straight', **options))
    runner.train()
    assert runner.val_loop.run()['long_tail/top1'] > 50
    stop_and_resume(partial(bcl_config, tmp_path / 'stopped', **options), at_iter=18)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


def sbcl_config(work_dir, queue_size=None, **overrides):
    """Sub-classes from epoch 1 on, drawn again in epoch 2."""
    cfg = bcl_config(work_dir, **overrides)
    cfg.model.head.aux_losses = [
        dict(
            type='ltmm.SubclassBalancedContrastiveLoss',
            in_channels=cfg.model.head.in_channels,
            feat_dim=8,
            warmup_epochs=1,
            interval=2,
            min_size=4,
            queue_size=queue_size,
        )
    ]
    if queue_size:
        cfg.model.type = 'ltmm.MomentumClassifier'
    views = dict(type='MultiView', num_views=[2], transforms=[[FLIP, CUTOUT]])
    cfg.train_dataloader.dataset.pipeline = [views, dict(type='PackInputs', meta_keys=('sample_idx',))]
    return cfg


@pytest.mark.parametrize('queue_size', [None, 20])
def test_sbcl_resume_equals_never_stopped(tmp_path, queue_size):
    Runner.from_cfg(sbcl_config(tmp_path / 'straight', queue_size)).train()
    # in the last epoch, without a clustering
    stop_and_resume(partial(sbcl_config, tmp_path / 'stopped', queue_size), at_iter=26)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    subclass = straight['state_dict']['head.aux_losses.0.objective.subclass.values']
    assert len(subclass) == 64 and subclass.min() == 0 and subclass.max() == 8 // 4 + 16 // 8 + 40 // 8 - 2


@pytest.mark.slow
@pytest.mark.parametrize('config', [bcl_config, sbcl_config])
def test_trains_on_two_processes(tmp_path, config):
    cfg = config(tmp_path / 'two', **{'train_cfg.max_epochs': 2})
    cfg.find_unused_parameters = False
    train_on_two_ranks(cfg)
    assert torch.load(tmp_path / 'two' / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 8
