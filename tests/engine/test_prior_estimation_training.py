"""SimPro and ADELLO in a training: the priors are learned and logged, resume exactly, and are equal on two ranks."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy_semi import semi_config
from toy_training import stop_and_resume, train_on_two_ranks

LOSSES = {
    'simpro': dict(type='ltmm.SimProLoss', threshold=0.35, interval=5),
    'adello': dict(type='ltmm.ADELLOLoss', threshold=0.5, momentum=0.9),
}
each_loss = pytest.mark.parametrize('loss', LOSSES.values(), ids=LOSSES)


def state_of(path):
    return torch.load(path, weights_only=False)


@each_loss
def test_resume_equals_never_stopped(loss, tmp_path):
    """Stopped in the middle of an epoch and of an interval of SimPro."""
    runner = Runner.from_cfg(semi_config(tmp_path / 'straight', loss=loss))
    runner.train()
    estimate = runner.model.head.loss_module.unlabeled
    assert estimate.num_steps > 0 and not torch.equal(estimate.prior, torch.full_like(estimate.prior, 1 / 3))
    stop_and_resume(partial(semi_config, tmp_path / 'stopped', loss=loss), at_iter=18)
    straight, resumed = (state_of(tmp_path / name / 'epoch_4.pth') for name in ('straight', 'stopped'))
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[part], straight[part], rtol=0, atol=0)


@each_loss
def test_mask_is_logged(loss, tmp_path):
    runner = Runner.from_cfg(semi_config(tmp_path, loss=loss, **{'train_cfg.max_epochs': 1}))
    runner.train()
    for name in ('loss', 'loss_labeled', 'loss_unlabeled', 'mask_rate', 'confidence', 'threshold'):
        values = torch.tensor(runner.message_hub.get_scalar(f'train/{name}').data[0])
        assert len(values) == 8 and values.isfinite().all() and values.any(), name


@pytest.mark.slow
@each_loss
def test_trains_on_two_processes(loss, tmp_path):
    cfg = semi_config(tmp_path / 'two', loss=loss, **{'train_cfg.max_epochs': 2})
    train_on_two_ranks(cfg)
    state = state_of(tmp_path / 'two' / 'epoch_2.pth')['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    assert state['head.loss_module.unlabeled.num_steps'] > 0
