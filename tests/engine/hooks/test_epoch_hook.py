import pytest
from mmengine.runner import Runner
from torch import nn
from toy import Stopped, toy_config

from ltmm.models.state.progress import UsesEpoch


class Recorder(UsesEpoch, nn.Module):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = []

    def set_epoch(self, epoch, max_epochs):
        super().set_epoch(epoch, max_epochs)
        self.told.append((epoch, max_epochs))


class OfMMDet(nn.Module):
    """Takes the epoch alone, from a hook of mmdet."""

    def set_epoch(self, epoch):
        raise AssertionError


def runner_with(module: nn.Module, work_dir, **options) -> Runner:
    runner = Runner.from_cfg(toy_config(work_dir, **options))
    runner.model.backbone.add_module('recorder', module)
    return runner


def test_every_epoch_is_told_and_a_resumed_run_goes_on(tmp_path):
    straight, stopped, resumed = Recorder(), Recorder(), Recorder()
    runner_with(straight, tmp_path / 'straight').train()
    assert straight.told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    runner = runner_with(stopped, tmp_path / 'stopped')
    with pytest.raises(Stopped):
        runner.register_custom_hooks([dict(type='ltmm.StopHook', at_iter=20)])  # 8 iterations an epoch
        runner.train()
    runner_with(resumed, tmp_path / 'stopped', resume=True, experiment_name='resumed').train()
    assert stopped.told[:2] + resumed.told == straight.told


def test_modules_that_take_the_epoch_alone_are_left_alone(tmp_path):
    runner_with(OfMMDet(), tmp_path, **{'train_cfg.max_epochs': 1}).train()


def test_a_training_by_iterations_is_refused(tmp_path):
    cfg = toy_config(tmp_path)
    cfg.train_cfg = dict(by_epoch=False, max_iters=4)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint.by_epoch = False
    runner = Runner.from_cfg(cfg)
    runner.model.add_module('recorder', Recorder())
    with pytest.raises(ValueError, match=r'Recorder depends on the epoch.*iterations\. Use train_cfg=dict\(by_epoch='):
        runner.train()
