from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn
from toy import Stopped, toy_config

from ltmm.engine.hooks.progress_hook import largest_learning_rate
from ltmm.models.state import UsesLearningRate, UsesProgress


class Recorder(UsesProgress, UsesLearningRate, nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []
        self.rates = []

    def set_progress(self, *progress):
        super().set_progress(*progress)
        self.calls.append(progress)

    def set_learning_rate(self, lr):
        super().set_learning_rate(lr)
        self.rates.append(self.get_learning_rate())


def runner_with(module: nn.Module, cfg) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.model.backbone.add_module('recorder', module)
    return runner


def test_progress_before_every_epoch_and_iteration_also_after_a_resume(tmp_path):
    straight, stopped, resumed = Recorder(), Recorder(), Recorder()
    schedule = {
        'optim_wrapper.optimizer.lr': 0.2,
        'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
        'param_scheduler.0.milestones': [1, 3],
    }
    runner_with(straight, toy_config(tmp_path / 'straight', **schedule)).train()
    expected = []
    for epoch in range(4):  # of 8 iterations
        iterations = [epoch * 8, *range(epoch * 8, epoch * 8 + 8)]
        expected += [(epoch, 4, i, 32) for i in iterations]
    assert straight.calls == expected
    assert straight.rates == pytest.approx([0.2] * 8 + [0.02] * 16 + [0.002] * 8)  # the largest, that of the head
    runner = runner_with(stopped, toy_config(tmp_path / 'stopped', **schedule))
    with pytest.raises(Stopped):
        runner.register_custom_hooks([dict(type='ltmm.StopHook', at_iter=20)])
        runner.train()
    runner_with(resumed, toy_config(tmp_path / 'stopped', **schedule, resume=True, experiment_name='resumed')).train()
    assert stopped.calls[:18] + resumed.calls == straight.calls
    assert stopped.rates[:16] + resumed.rates == straight.rates


@pytest.mark.parametrize(
    'sampler, num_ranks, epochs',
    [('DefaultSampler', 1, [0] * 9 + [1]), ('InfiniteSampler', 4, [0, 0, 0, 1, 1, 2, 2, 3, 3, 4])],
)
def test_training_by_iterations_counts_passes_over_the_data(tmp_path, monkeypatch, sampler, num_ranks, epochs):
    cfg = toy_config(tmp_path, **{'train_dataloader.sampler.type': sampler})  # 8 batches, 2 for each of 4 ranks
    max_iters = len(epochs) - 1  # the first call is that of the epoch
    cfg.train_cfg = dict(by_epoch=False, max_iters=max_iters)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint.by_epoch = False
    monkeypatch.setattr('ltmm.engine.hooks.progress_hook.get_world_size', lambda: num_ranks)
    monkeypatch.setattr('time.sleep', lambda _: None)
    recorder = Recorder()
    runner_with(recorder, cfg).train()
    assert [call[0] for call in recorder.calls] == epochs
    assert recorder.calls[0][1:] == (epochs[-1] + 1, 0, max_iters)


def test_learning_rate_of_several_optimizers():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    wrapper = OptimWrapperDict(
        **{f'part{i}': OptimWrapper(torch.optim.SGD([weight], lr=0.1 + i)) for i, weight in enumerate(weights)}
    )
    assert largest_learning_rate(SimpleNamespace(optim_wrapper=wrapper)) == 1.1
