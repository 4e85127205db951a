import numpy as np
import pytest
import torch

from ltmm.registry import MODELS


def build(**options):
    return MODELS.build(dict(type='ltmm.LossMixtureSelector', **options))


def logits_of_losses(losses):
    """Logits of two classes whose cross entropy with class 0 is given."""
    return torch.stack([torch.zeros(len(losses)), torch.tensor(losses).exp().sub(1).log()], dim=1).double()


def test_selects_small_losses_over_all_classes():
    losses = [0.1, 0.12, 0.15, 0.11, 2.9, 3.0, 3.1, 0.14]
    selected, probability = build().select(
        torch.zeros(8, 2), logits_of_losses(losses), torch.zeros(8, dtype=torch.int64), np.random.RandomState(0)
    )
    assert selected.tolist() == [loss < 1 for loss in losses]
    assert (probability[selected] > 0.99).all() and not probability[~selected].any()


def test_hard_tail_samples_look_like_noise():
    """What TABASCO avoids: one threshold for all classes."""
    generator = np.random.default_rng(0)
    losses = np.r_[0.2 * generator.random(90), 2.5 + 0.2 * generator.random(10)]  # the tail, all of it clean
    logits = torch.stack([torch.zeros(100), torch.tensor(losses).exp().sub(1).log()], dim=1)
    label = torch.tensor([0] * 90 + [1] * 10)
    logits[90:] = logits[90:].flip(1)
    selected, _ = build().select(torch.zeros(100, 2), logits, label, np.random.RandomState(0))
    assert selected.tolist() == [True] * 90 + [False] * 10


def test_threshold():
    losses = np.random.default_rng(0).random(200).tolist()
    arguments = torch.zeros(200, 2), logits_of_losses(losses), torch.zeros(200, dtype=torch.int64)
    few, many = (build(threshold=t).select(*arguments, np.random.RandomState(0))[0] for t in (0.9, 0.1))
    assert (few <= many).all() and few.sum() < many.sum()


@pytest.mark.parametrize('num', [1, 6])
def test_equal_losses_select_all(num):
    selected, probability = build().select(
        torch.zeros(num, 2), torch.zeros(num, 3), torch.zeros(num, dtype=torch.int64), np.random.RandomState(0)
    )
    assert selected.all() and (probability == 1).all()


def test_diverged_network():
    logits = torch.zeros(6, 3).index_fill(0, torch.tensor([2]), float('nan'))
    with pytest.raises(ValueError, match='finite outputs of the network on all 6 samples'):
        build().select(torch.zeros(6, 2), logits, torch.zeros(6, dtype=torch.int64), np.random.RandomState(0))


def test_invalid_threshold():
    with pytest.raises(ValueError, match='`threshold` to be in .0, 1., but got 1'):
        build(threshold=1)
