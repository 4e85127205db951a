"""TABASCO and DivideMix in a training: turns, selections in the log, resume, AMP, two ranks."""

from functools import partial

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

COUNTS = (36, 18, 9)


def co_divide_config(work_dir, selector='BiDimensionalSelector', kind='symmetric', **overrides):
    cfg = toy_config(work_dir, **overrides)
    cfg.model.type = 'ltmm.CoDivideClassifier'
    cfg.model.selector = dict(type=f'ltmm.{selector}')
    cfg.model.warmup_epochs = 2
    cfg.model.head = dict(
        type='ltmm.MultiExpertClsHead',
        num_classes=3,
        in_channels=cfg.model.head.in_channels,
        num_experts=2,
        loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='CrossEntropyLoss')),
    )
    cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    views = dict(type='MultiView', num_views=[2], transforms=[[dict(type='RandomFlip', prob=0.5)]])
    images = dict(type='ltmm.ToyImages', counts=COUNTS, pipeline=[views, dict(type='PackInputs')])
    cfg.train_dataloader.dataset = dict(type='ltmm.NoisyLabels', dataset=images, rate=0.4, kind=kind)
    cfg.train_dataloader.batch_sampler = dict(type='ltmm.CoDivideBatchSampler')
    cfg.custom_hooks.append(dict(type='ltmm.CoDivideHook', thresholds=(30, 10)))
    cfg.find_unused_parameters = True
    return cfg


class Record(Hook):
    """Records what each iteration trains, and how far both networks have moved."""

    def __init__(self):
        self.iterations, self.figures = [], {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = [self.norms(runner, k) for k in range(2)]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        moved = [k for k in range(2) if self.norms(runner, k) != self.before[k]]
        self.iterations.append((runner.epoch, runner.model.step, moved, len(data_batch['data_samples'])))

    def after_train_epoch(self, runner):
        scalars = runner.message_hub.log_scalars
        self.figures[runner.epoch] = {
            name.removeprefix('train/'): buffer.current()
            for name, buffer in scalars.items()
            if name.startswith('train/clean')
        }

    @staticmethod
    def norms(runner, k):
        return [p.sum().item() for name, p in runner.model.named_parameters() if f'experts.{k}.' in name]


def test_networks_take_turns_on_what_the_other_one_selects(tmp_path):
    runner, record = Runner.from_cfg(co_divide_config(tmp_path)), Record()
    runner.register_hook(record, priority='LOWEST')
    runner.train()
    model = runner.model
    assert all(moved == [step.network] for _, step, moved, _ in record.iterations)
    warm = [step for epoch, step, _, _ in record.iterations if epoch == 0]
    assert [step.network for step in warm] == [0] * 4 + [1] * 4 and {step.num_labeled for step in warm} == {None}
    last = [(step, size) for epoch, step, _, size in record.iterations if epoch == 3]
    labeled = [sum(step.num_labeled for step, _ in last if step.network == k) for k in range(2)]
    selected = model.selected.cpu().numpy()
    assert labeled == selected.sum(1)[::-1].tolist()
    assert all(size > step.num_labeled for step, size in last)  # the others are unlabeled
    noisy = runner.train_dataloader.dataset
    clean = noisy.get_gt_labels() == noisy.true_labels
    expected = dict(
        clean_precision=np.mean([clean[chosen].mean() for chosen in selected]),
        clean_recall=np.mean([chosen[clean].mean() for chosen in selected]),
    )
    for name, value in expected.items():
        assert record.figures[3][name] == pytest.approx(value)
    assert not record.figures[1] and {'clean_precision_many', 'clean_recall_few'} <= record.figures[3].keys()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Selected as clean by network 1 and 2: ' in log and 'Mean of both selections: precision ' in log
    assert 'clean_recall_few: ' in log


@pytest.mark.parametrize('selector', ['BiDimensionalSelector', 'LossMixtureSelector'])
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'ltmm.CPUAmpOptimWrapper'])
def test_resume_equals_never_stopped(tmp_path, selector, wrapper):
    config = partial(co_divide_config, selector=selector, **{'optim_wrapper.type': wrapper})
    Runner.from_cfg(config(tmp_path / 'straight')).train()
    stop_and_resume(partial(config, tmp_path / 'stopped'), at_iter=18)  # in the first epoch of selected samples
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)
    assert straight['state_dict']['clean.values'].any()


def test_data_without_noise_have_no_figures(tmp_path):
    cfg = co_divide_config(tmp_path)
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.selected.any()
    assert not [name for name in runner.message_hub.log_scalars if 'clean' in name]


def test_a_network_whose_counterpart_selects_nothing_rests(tmp_path):
    cfg = co_divide_config(tmp_path, selector='LossMixtureSelector')
    runner, record = Runner.from_cfg(cfg), Record()
    runner.register_hook(record, priority='LOWEST')
    select = runner.model.selector.select
    calls = []

    def select_nothing_by_the_first(*args):
        calls.append(len(calls))
        selected, probability = select(*args)
        return (selected * 0, probability * 0) if calls[-1] % 2 == 0 else (selected, probability)

    runner.model.selector.select = select_nothing_by_the_first
    runner.train()
    assert {step.network for epoch, step, _, _ in record.iterations if epoch >= 2} == {0}
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Network 2 is not trained in this epoch: network 1 selects no sample.' in log


@pytest.mark.slow
def test_trains_on_two_processes(tmp_path):
    cfg = co_divide_config(tmp_path / 'two', **{'train_cfg.max_epochs': 3})
    cfg.train_dataloader.batch_size = 4
    train_on_two_ranks(cfg)
    state = torch.load(tmp_path / 'two' / 'epoch_3.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    assert state['clean.values'].shape == (63, 2) and state['clean.values'].any()


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda cfg: cfg.train_dataloader.pop('batch_sampler'), 'CoDivideBatchSampler.*, but got BatchSampler'),
        (lambda cfg: cfg.train_dataloader.sampler.update(shuffle=False), 'DefaultSampler with shuffle=False'),
        (lambda cfg: cfg.model.update(type='ImageClassifier'), 'CoDivideHook needs ltmm.CoDivideClassifier'),
        (lambda cfg: cfg.custom_hooks.pop(), "dict.type='ltmm.CoDivideHook'."),
    ],
)
def test_missing_parts(tmp_path, change, message):
    cfg = co_divide_config(tmp_path)
    change(cfg)
    if cfg.model.type == 'ImageClassifier':
        for key in ('selector', 'warmup_epochs'):
            cfg.model.pop(key)
        cfg.model.backbone = dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=2)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()
