import math

import numpy as np
import pytest
import torch
from toy_losses import expert_terms

from ltmm.models.losses import RIDELoss
from ltmm.models.losses.expert.ride_loss import diversity_temperature

COUNTS = [200, 50, 10, 2]


def ride(**options) -> RIDELoss:
    settings = dict(diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=160, class_counts=COUNTS)
    return RIDELoss(**{**settings, **options})


def naive(logits, label, factor, reweighted) -> float:
    """The formula, sample by sample in Python's floats."""
    num_experts, num_samples, num_classes = logits.shape
    z, y, total = logits.tolist(), label.tolist(), sum(COUNTS)
    rarest = max(n**-0.25 for n in COUNTS)
    margin = [0.5 * n**-0.25 / rarest for n in COUNTS]
    weight, temperature = [1.0] * num_classes, [1.0] * num_classes
    if reweighted:
        weight = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
        temperature = [0.05 * num_classes * n / total + 0.95 for n in COUNTS]
        temperature = [t / max(temperature) for t in temperature]
    mean = [
        [sum(z[e][i][c] for e in range(num_experts)) / num_experts for c in range(num_classes)]
        for i in range(num_samples)
    ]

    def softmax(scores):
        powers = [math.exp(s) for s in scores]
        return [p / sum(powers) for p in powers]

    result = 0.0
    for e in range(num_experts):
        weighted = 0.0
        for i in range(num_samples):
            lowered = [z[e][i][c] - (30 * margin[c] if c == y[i] else 0) for c in range(num_classes)]
            weighted -= weight[y[i]] * math.log(softmax(lowered)[y[i]])
            p = softmax([m / t for m, t in zip(mean[i], temperature)])
            q = softmax([s / t for s, t in zip(z[e][i], temperature)])
            kl = sum(a * math.log(a / b) for a, b in zip(p, q))
            result += factor * (sum(temperature) / num_classes) ** 2 * kl / num_samples
        result += weighted / sum(weight[label] for label in y)
    return result


@pytest.mark.parametrize('epoch', [159, 160])
def test_formula(epoch):
    logits, label = torch.randn(3, 6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = ride()
    loss.set_progress(epoch, 200)
    terms = expert_terms(loss, logits, label)
    assert set(terms) == {'loss_cls', 'loss_diversity'}
    assert sum(terms.values()).item() == pytest.approx(naive(logits, label, -0.45, epoch == 160), rel=1e-9)


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
