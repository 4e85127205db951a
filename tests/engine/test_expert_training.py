"""Trainings of several experts through the Runner: they resume exactly, run in half precision and on two processes."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import ROOT, read_config, toy_config
from toy_training import stop_and_resume, train_on_two_ranks

FLIP = dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackInputs', meta_keys=('sample_idx',))
RIDE = dict(diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=3)
LOSSES = dict(
    ride=dict(type='ltmm.RIDELoss', **RIDE),
    sade=dict(type='ltmm.SADELoss'),
    balpoe=dict(type='ltmm.BalPoELoss'),
    lgla=dict(type='ltmm.LGLALoss'),
    mdcs=dict(type='ltmm.MDCSLoss', ramp_epochs=4),
    ncl=dict(type='ltmm.NCLLoss', num_hard=2),
    ncl_plus=dict(type='ltmm.NCLPlusLoss', num_hard=2, num_views=3),
    ride_distill=dict(type='ltmm.RIDEDistillLoss', **RIDE),
)


def expert_config(work_dir, name: str, **overrides):
    cfg = toy_config(work_dir, **overrides)
    cfg.model.backbone = dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=3)
    cfg.model.head = dict(
        type='ltmm.MultiExpertClsHead',
        num_classes=3,
        in_channels=8,
        num_experts=3,
        classifier=dict(type='ltmm.NormedLinear', scale=30.0),
        loss=LOSSES[name],
    )
    cfg.test_evaluator = cfg.val_evaluator = [
        dict(type='ltmm.LongTailMetric', topk=(1,)),
        dict(type='ltmm.ExpertMetric'),
    ]
    if name == 'lgla':
        cfg.model.backbone.shortcut = 'concat'
    if name == 'balpoe':
        cfg.model.train_cfg = dict(augments=dict(type='Mixup', alpha=0.4))
    if name == 'ncl':  # with its contrastive part
        cfg.model.type = 'ltmm.MomentumClassifier'
        cfg.model.head.aux_losses = [
            dict(type='ltmm.MomentumContrastLoss', in_channels=8, num_experts=3, feat_dim=4, queue_size=50)
        ]
    if name in ('mdcs', 'ncl', 'ncl_plus'):
        cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
        strong = [FLIP, dict(type='Cutout', shape=4, prob=1.0)]
        views = dict(type='MultiView', num_views=[1, 2 if name == 'ncl_plus' else 1], transforms=[[FLIP], strong])
        cfg.train_dataloader.dataset.pipeline = [views, PACK]
    return cfg


def with_teacher(cfg, tmp_path):
    """The student of a teacher whose checkpoint is written beside."""
    teacher = cfg.model.copy()
    teacher['head'] = dict(teacher['head'], loss=LOSSES['ride'])
    checkpoint = tmp_path / 'teacher' / 'epoch_1.pth'
    if not checkpoint.exists():
        Runner.from_cfg(expert_config(tmp_path / 'teacher', 'ride', **{'train_cfg.max_epochs': 1})).train()
    cfg.model = dict(cfg.model, type='ltmm.DistillClassifier', teacher=teacher, teacher_checkpoint=str(checkpoint))
    return cfg


def prepared(work_dir, tmp_path, name, **overrides):
    cfg = expert_config(work_dir, name, **overrides)
    return with_teacher(cfg, tmp_path) if name == 'ride_distill' else cfg


@pytest.mark.parametrize('name', ['ride', 'balpoe', 'mdcs', 'ncl', 'ride_distill'])
def test_resume(tmp_path, name):
    """The third epoch starts the weights of RIDE; MDCS ramps up over all four."""
    runner = Runner.from_cfg(prepared(tmp_path / 'straight', tmp_path, name))
    metrics = runner.train() and runner.val_loop.run()
    assert {f'expert/{e}_{group}' for e in range(3) for group in ('top1', 'medium', 'few')} <= set(metrics)
    assert 'expert/0_many' not in metrics  # no class is
    assert metrics['long_tail/top1'] > 50

    stop_and_resume(partial(prepared, tmp_path / 'stopped', tmp_path, name), at_iter=18)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


@pytest.mark.parametrize('name', ['ride', 'sade', 'lgla', 'mdcs', 'ncl', 'ncl_plus'])
def test_mixed_precision(tmp_path, name):
    cfg = expert_config(tmp_path, name, **{'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper'})
    runner = Runner.from_cfg(cfg)
    runner.train()  # ltmm.InvalidLossHook stops at the first loss that is not finite
    assert runner.epoch == 4


def test_router_on_frozen_experts(tmp_path):
    one = {'train_cfg.max_epochs': 1}
    Runner.from_cfg(expert_config(tmp_path / 'experts', 'ride', **one)).train()
    cfg = expert_config(tmp_path / 'router', 'ride', load_from=str(tmp_path / 'experts/epoch_1.pth'), **one)
    recipe = read_config(ROOT / 'configs/cifar100_lt/ride_ea_r32.py')
    cfg.custom_hooks = recipe.custom_hooks
    cfg.model.type = recipe.model.type
    cfg.model.head.type, cfg.model.head.loss = recipe.model.head.type, recipe.model.head.loss
    cfg.val_evaluator = cfg.test_evaluator = recipe.val_evaluator
    runner = Runner.from_cfg(cfg)
    runner.train()
    before, after = (
        torch.load(tmp_path / name / 'epoch_1.pth', weights_only=True)['state_dict'] for name in ('experts', 'router')
    )
    experts = {name: value for name, value in after.items() if not name.startswith('head.router')}
    torch.testing.assert_close(experts, {name: before[name] for name in experts}, rtol=0, atol=0)
    metrics = runner.val_loop.run()
    assert 1 <= metrics['early_exit/num_experts'] <= 3 and 0 < metrics['early_exit/flops_share'] <= 100


def test_one_view_for_a_two_view_method(tmp_path):
    cfg = expert_config(tmp_path, 'mdcs')
    cfg.train_dataloader.dataset.pipeline = [FLIP, PACK]
    with pytest.raises(ValueError, match="MDCSLoss needs 2 view.*'MultiView'"):
        Runner.from_cfg(cfg).train()


def test_start_from_a_single_network(tmp_path):
    Runner.from_cfg(toy_config(tmp_path / 'single', **{'train_cfg.max_epochs': 1})).train()
    for channels, differs in (((4, 4, 8), False), ((4, 4, 6), True)):
        start = {'load_from': str(tmp_path / 'single' / 'epoch_1.pth'), 'train_cfg.max_epochs': 1}
        cfg = expert_config(tmp_path / str(differs), 'sade', **start)
        cfg.model.backbone.update(channels=channels, expert_stages=(0, 1, 2), separate_stem=True)
        cfg.model.head.in_channels = channels[-1]
        cfg.model.head.classifier = dict(type='ltmm.Linear')
        Runner.from_cfg(cfg).train()
        log = next((tmp_path / str(differs)).rglob('*.log')).read_text()
        assert ('differ in shape from the model' in log) == differs


@pytest.mark.slow
@pytest.mark.parametrize('name', ['sade', 'ncl'])
def test_two_processes(tmp_path, name):
    cfg = expert_config(tmp_path / 'two', name, **{'train_cfg.max_epochs': 1})
    cfg.find_unused_parameters = False
    train_on_two_ranks(cfg)
    state = torch.load(tmp_path / 'two' / 'epoch_1.pth', weights_only=True)
    assert state['meta']['iter'] == 4
