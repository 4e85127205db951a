import pytest
from mmengine.runner import Runner
from torch import nn
from toy import Stopped, toy_config

from ltmm.models.state import UsesProgress


class Recorder(UsesProgress, nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def set_progress(self, *progress):
        super().set_progress(*progress)
        self.calls.append(progress)


def runner_with(module: nn.Module, cfg) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.model.backbone.add_module('recorder', module)
    return runner


def test_progress_before_every_epoch_and_iteration_also_after_a_resume(tmp_path):
    straight, stopped, resumed = Recorder(), Recorder(), Recorder()
    runner_with(straight, toy_config(tmp_path / 'straight')).train()
    expected = []
    for epoch in range(4):  # of 8 iterations
        iterations = [epoch * 8, *range(epoch * 8, epoch * 8 + 8)]
        expected += [(epoch, 4, i, 32) for i in iterations]
    assert straight.calls == expected
    runner = runner_with(stopped, toy_config(tmp_path / 'stopped'))
    with pytest.raises(Stopped):
        runner.register_custom_hooks([dict(type='ltmm.StopHook', at_iter=20)])
        runner.train()
    runner_with(resumed, toy_config(tmp_path / 'stopped', resume=True, experiment_name='resumed')).train()
    assert stopped.calls[:18] + resumed.calls == straight.calls


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
