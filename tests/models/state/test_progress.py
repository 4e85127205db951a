import pytest
from torch import nn

from ltmm.models.state import UsesProgress


class Ramp(UsesProgress, nn.Module):
    pass


def test_progress_is_the_last_one_set_and_no_state():
    ramp, untouched = Ramp(), Ramp()
    ramp.set_progress(0, 200, 0, 1600)
    ramp.set_progress(7, 200, 60, 1600)
    assert (ramp.epoch, ramp.max_epochs, ramp.iter, ramp.max_iters) == (7, 200, 60, 1600)
    assert ramp.state_dict() == {} and untouched._progress == {}


@pytest.mark.parametrize('name', ['epoch', 'max_epochs', 'iter', 'max_iters'])
def test_unset_progress_names_the_hook(name):
    with pytest.raises(RuntimeError, match=rf"Ramp .*`{name}` is not set.*dict\(type='ltmm.ProgressHook'\)"):
        getattr(Ramp(), name)


def test_a_loop_may_count_epochs_only():
    ramp = Ramp()
    ramp.set_progress(3, 5)
    assert ramp.epoch == 3
    with pytest.raises(RuntimeError, match='`iter` is not set'):
        _ = ramp.iter
