import pytest
import torch

from ltmm.models.state.running_sums import RunningCounts, RunningGradients


def test_counts_are_exact_beyond_the_integers_of_float32():
    state = RunningCounts(4).half()
    state.counts += 2**24
    state.update(torch.tensor([0, 2, 2, 1, 2]))
    assert state.counts.tolist() == [2**24 + n for n in (1, 1, 3, 0)]


def test_updates_within_one_update_apply_at_its_end():
    state = RunningGradients(2)
    with state.one_update():
        for _ in range(3):
            state.update(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 2.0]))
            assert not state.positive.any() and not state.negative.any()
    assert state.positive.tolist() == [3, 0] and state.negative.tolist() == [1.5, 6]
    with state.eval().one_update():
        state.update(torch.ones(2), torch.ones(2))
    assert state.positive.tolist() == [3, 0]


def test_an_error_within_one_update_leaves_the_state_unchanged():
    state = RunningGradients(1)
    with pytest.raises(KeyError), state.one_update():
        state.update(torch.ones(1), torch.ones(1))
        raise KeyError
    assert not state.positive.any()
    state.update(torch.ones(1), torch.ones(1))
    assert state.positive == 1
