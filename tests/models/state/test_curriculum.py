import torch
from toy_ranks import on_ranks

from ltmm.models.state import CurriculumLevels
from ltmm.models.state.curriculum import next_levels

LEVELS = [0, 0, 2, 2, 2, 3, 0]
DRAWN = [[10, 0, 0, 0]] * 2 + [[10, 20, 30, 0]] * 3 + [[10, 20, 30, 40], [0, 0, 0, 0]]  # the last class has no images
CORRECT = [[7, 0, 0, 0], [6, 0, 0, 0], [7, 13, 19, 0], [10, 20, 18, 0], [6, 20, 30, 0], [10, 20, 30, 40], [0, 0, 0, 0]]
EXPECTED = [1, 0, 3, 1, 1, 3, 0]


def tensors(rows: list) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_a_level_rises_only_if_all_strengths_are_passed():
    levels = next_levels(torch.tensor(LEVELS), tensors(CORRECT), tensors(DRAWN), threshold=0.6, max_level=3)
    assert levels.tolist() == EXPECTED


def test_the_threshold_has_to_be_exceeded():
    drawn = torch.arange(10, 310, 10, dtype=torch.float64)[:, None]  # 0.6 of all of them is a whole number
    levels = torch.ones(30, dtype=torch.int64)
    assert (next_levels(levels, (0.6 * drawn).round(), drawn, 0.6, 10) == 0).all()
    assert (next_levels(levels, (0.6 * drawn).round() + 1, drawn, 0.6, 10) == 2).all()


def updated(rank: int) -> torch.Tensor:
    state = CurriculumLevels(len(LEVELS))
    state.values.copy_(torch.tensor(LEVELS))
    correct, drawn = tensors(CORRECT), tensors(DRAWN)
    own = (correct // 3, drawn // 3)
    state.update(*(own if rank else (correct - own[0], drawn - own[1])), threshold=0.6, max_level=3)
    return state.values


def test_ranks_decide_together(tmp_path):
    assert [levels.tolist() for levels in on_ranks(updated, tmp_path)] == [EXPECTED] * 2


def test_a_checkpoint_brings_the_number_of_classes():
    trained, fresh = CurriculumLevels(3), CurriculumLevels()
    trained.values.copy_(torch.tensor([1, 0, 4]))
    fresh.load_state_dict(trained.state_dict())
    assert fresh.values.tolist() == [1, 0, 4] and fresh.values.dtype == torch.int64
    assert fresh.half().values.dtype == torch.int64
