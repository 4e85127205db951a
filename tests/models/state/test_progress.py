import pytest
from torch import nn

from ltmm.models.state.progress import UsesEpoch


class Ramp(UsesEpoch, nn.Module):
    pass


def test_epoch_and_end_are_those_told_last():
    ramp = Ramp()
    ramp.set_epoch(0, 200)
    ramp.set_epoch(7, 200)
    assert (ramp.epoch, ramp.max_epochs) == (7, 200)


def test_the_epoch_is_no_state():
    ramp = Ramp()
    ramp.set_epoch(7, 200)
    assert ramp.state_dict() == {}


@pytest.mark.parametrize('name', ['epoch', 'max_epochs'])
def test_untold_it_names_the_hook(name):
    with pytest.raises(RuntimeError, match=r"Ramp depends on the epoch.*dict\(type='ltmm.EpochHook'\)"):
        getattr(Ramp(), name)
