from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from ltmm.models.state.running_sums import RunningCounts, RunningGradients

LABELS = torch.tensor([0, 2, 2, 1, 2])


def test_counts_add_up_over_batches_of_any_size():
    state = RunningCounts(4)
    state.update(LABELS)
    state.update(LABELS[:0])
    state.update(LABELS[3:])
    assert state.counts.tolist() == [1, 2, 4, 0]


def test_nothing_is_gathered_in_evaluation_mode():
    counts, gradients = RunningCounts(4).eval(), RunningGradients(2).eval()
    counts.update(LABELS)
    gradients.update(torch.ones(2), torch.ones(2))
    with gradients.one_update():
        gradients.update(torch.ones(2), torch.ones(2))
    assert not counts.counts.any() and not gradients.negative.any()


@pytest.mark.parametrize('cast', [torch.nn.Module.half, torch.nn.Module.bfloat16, torch.nn.Module.float])
def test_a_model_of_another_precision_counts_on_exactly(cast):
    state = RunningCounts(4)
    state.counts += 2**24
    cast(torch.nn.Sequential(state))
    state.update(LABELS)
    assert state.counts.dtype == torch.float64 and state.counts.tolist() == [2**24 + n for n in (1, 1, 3, 0)]


def test_moves_to_another_device():
    assert RunningCounts(4).to('meta').counts.is_meta


def test_what_comes_within_one_update_takes_effect_at_its_end():
    state = RunningGradients(2)
    with state.one_update():
        for _ in range(3):
            state.update(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 2.0]))
            assert not state.positive.any() and not state.negative.any()
    assert state.positive.tolist() == [3, 0] and state.negative.tolist() == [1.5, 6]


def test_an_error_within_one_update_leaves_the_state_as_it_was():
    state = RunningGradients(1)
    with pytest.raises(KeyError), state.one_update():
        state.update(torch.ones(1), torch.ones(1))
        raise KeyError
    assert not state.positive.any()
    state.update(torch.ones(1), torch.ones(1))
    assert state.positive == 1


def test_a_state_dict_brings_it_back_and_reset_clears_it():
    state, fresh = RunningGradients(2), RunningGradients(2)
    state.update(torch.tensor([0.1, 0.2]), torch.tensor([3.0, 4.0]))
    fresh.load_state_dict(state.state_dict())
    assert torch.equal(fresh.positive, state.positive) and torch.equal(fresh.negative, state.negative)
    fresh.reset()
    assert not fresh.positive.any() and not fresh.negative.any()


def on_rank(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/ranks', rank=rank, world_size=2)
    counts, gradients = RunningCounts(4), RunningGradients(4)
    counts.update(LABELS if rank else LABELS[:0])  # a rank without proposals takes part
    counts.update(LABELS)
    gradients.update(torch.full((4,), 1.0 + rank), torch.zeros(4))
    torch.save((counts.counts.tolist(), gradients.positive.tolist()), folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


def test_all_ranks_have_the_sum_over_the_ranks(tmp_path):
    mp.start_processes(on_rank, args=(tmp_path,), nprocs=2, start_method='fork')
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pth') == ([3, 3, 9, 0], [3.0] * 4)
