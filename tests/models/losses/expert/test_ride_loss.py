import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toy_losses import expert_terms

from ltmm.models.losses import RIDELoss
from ltmm.models.losses.expert.ride_loss import diversity_temperature

COUNTS = [200, 50, 10, 2]


def ride(**options) -> RIDELoss:
    settings = dict(diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=160, class_counts=COUNTS)
    return RIDELoss(**{**settings, **options})


def naive(logits, label, factor, reweighted) -> Tensor:
    """The formula, expert by expert."""
    n = torch.tensor(COUNTS, dtype=logits.dtype)
    margin = 0.5 * (n.min() / n) ** 0.25
    weight, temperature = torch.ones(2, len(n), dtype=logits.dtype)
    if reweighted:
        weight = (1 - 0.9999) / (1 - 0.9999**n)
        temperature = 0.05 * len(n) * n / n.sum() + 0.95
        temperature = temperature / temperature.max()
    target, total = (logits.mean(0) / temperature).softmax(1), 0
    for z in logits:
        lowered = z - 30 * margin * F.one_hot(label, len(n))
        log_prob = (z / temperature).log_softmax(1)
        total += F.cross_entropy(lowered, label, weight)
        total += factor * temperature.mean() ** 2 * (target * (target.log() - log_prob)).sum(1).mean()
    return total


@pytest.mark.parametrize('epoch', [159, 160])
def test_formula(epoch):
    logits, label = torch.randn(3, 6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = ride()
    loss.set_progress(epoch, 200)
    terms = expert_terms(loss, logits, label)
    assert set(terms) == {'loss_cls', 'loss_diversity'}
    torch.testing.assert_close(sum(terms.values()), naive(logits, label, -0.45, epoch == 160))


def test_without_reweight_epoch():
    logits, label = torch.randn(3, 6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    never, later = ride(reweight_epoch=None), ride()
    later.set_progress(0, 200)
    torch.testing.assert_close(expert_terms(never, logits, label), expert_terms(later, logits, label))


def test_disagreement_is_rewarded():
    label = torch.tensor([0, 1])
    loss = ride(reweight_epoch=None)
    same = torch.randn(1, 2, 4).expand(3, 2, 4)
    assert expert_terms(loss, same, label)['loss_diversity'].item() == pytest.approx(0, abs=1e-6)
    assert expert_terms(loss, torch.randn(3, 2, 4), label)['loss_diversity'] < 0


def test_without_diversity():
    label = torch.tensor([0, 1, 3])
    logits = torch.randn(3, 3, 4, requires_grad=True)
    loss = ride(diversity_factor=0.0, reweight_epoch=None)
    terms = expert_terms(loss, logits, label)
    assert set(terms) == {'loss_cls'}
    mean = logits.mean(0, keepdim=True).expand_as(logits)
    torch.testing.assert_close(terms['loss_cls'], expert_terms(ride(reweight_epoch=None), mean, label)['loss_cls'])


def test_tail_classes_are_colder():
    temperature = diversity_temperature(np.array([0.7, 0.2, 0.1, 0.0]), 0.05)
    assert temperature[0] == 1 and (np.diff(temperature) < 0).all() and temperature[3] > 0
