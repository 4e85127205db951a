"""GLMC in a training: the second stream has views, the parts fit; resume, AMP, two ranks."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

IMPORTS = dict(imports=['toy', 'ltmm.models.batch_augments'], allow_failed_imports=False)


def glmc_config(work_dir, **overrides):
    cfg = toy_config(work_dir, custom_imports=IMPORTS, **overrides)
    cfg.model.type = 'ltmm.PerViewClassifier'
    channels = cfg.model.head.in_channels
    cfg.model.head = dict(
        type='ltmm.LongTailClsHead',
        num_classes=3,
        in_channels=channels,
        classifier=dict(type='ltmm.TwoBranchLinear'),
        loss=dict(type='ltmm.CumulativeLoss'),
        aux_losses=[dict(type='ltmm.ViewConsistencyLoss', in_channels=channels, feat_dim=8, weight=2.0)],
    )
    sampler = dict(type='ltmm.PowerSampler', power=0.0)
    cfg.model.train_cfg = dict(augments=dict(type='ltmm.GlobalLocalMix', sampler=sampler))
    cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    views = dict(type='MultiView', num_views=[2], transforms=[[dict(type='RandomFlip', prob=0.5)]])
    cfg.train_dataloader.dataset.pipeline = [views, dict(type='PackInputs', meta_keys=('sample_idx',))]
    return cfg


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'ltmm.CPUAmpOptimWrapper'])
def test_resume_equals_never_stopped(tmp_path, wrapper):
    options = {'optim_wrapper.type': wrapper}
    runner = Runner.from_cfg(glmc_config(tmp_path / 'straight', **options))
    runner.train()
    assert runner.model.head.loss_module.epoch == 3  # class distribution and progress have reached it
    stop_and_resume(partial(glmc_config, tmp_path / 'stopped', **options), at_iter=18)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


def test_partners_come_in_two_views_by_their_own_sampler(tmp_path):
    runner = Runner.from_cfg(glmc_config(tmp_path, **{'train_cfg.max_epochs': 1}))
    runner.train()
    stream = runner.model.data_preprocessor.augments[0].partners
    batches = [stream.read(8, 5) for _ in range(16)]
    assert {inputs.shape[0] for inputs, _ in batches} == {16}
    for inputs, _ in batches:  # a view is the other one, or its mirror image
        first, second = inputs.chunk(2)
        same = (first == second).flatten(1).all(1) | (first == second.flip(-1)).flatten(1).all(1)
        assert same.all()
    assert torch.cat([score for _, score in batches]).sum(0).min() > 25  # of 128; a uniform stream has 16 of the rarest
    inputs, score = stream.read(12, 5)  # more than the batch of 8, whose first rows come again, view by view
    assert inputs.shape[0] == 24 and torch.equal(score[8:], score[:4])
    for view in inputs.chunk(2):
        assert torch.equal(view[8:], view[:4]) and not torch.equal(view[4:8], view[:4])


@pytest.mark.slow
def test_trains_on_two_processes(tmp_path):
    cfg = glmc_config(tmp_path / 'two', **{'train_cfg.max_epochs': 1})
    cfg.find_unused_parameters = False  # all take part
    train_on_two_ranks(cfg)
    state = torch.load(tmp_path / 'two' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
