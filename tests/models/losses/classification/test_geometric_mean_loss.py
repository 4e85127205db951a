import math

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import GeometricMeanLoss

COUNTS, LABEL = [500, 60, 20, 3], torch.tensor([0, 1, 3, 3, 0, 0])
SCORE = 2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def loss(**options) -> GeometricMeanLoss:
    return GeometricMeanLoss(class_counts=COUNTS, **options)


def naive(score, label, p=1.0, tau=1.0, weight=None) -> float:
    """One sample at a time; min_prob does not bind."""
    recalls: dict[int, list] = {}
    for i, y in enumerate(label.tolist()):
        e = [n**tau * math.exp(z) for n, z in zip(COUNTS, score[i].tolist())]
        recalls.setdefault(y, []).append((e[y] / sum(e), 1.0 if weight is None else weight[i].item()))
    means = [sum(q * w for q, w in pairs) / sum(w for _, w in pairs) for pairs in recalls.values()]
    return (sum((-math.log(m)) ** p for m in means) / len(means)) ** (1 / p)


@pytest.mark.parametrize('options', [dict(), dict(p=2.0), dict(tau=0.0), dict(p=1.5, tau=0.6)], ids=str)
def test_formula(options):
    assert loss(**options)(SCORE, LABEL).item() == pytest.approx(naive(SCORE, LABEL, **options))
    assert loss(**options, loss_weight=0.5)(SCORE, LABEL).item() == pytest.approx(naive(SCORE, LABEL, **options) / 2)
    score = SCORE.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(**options)(x, LABEL), score)


def test_one_class_is_minus_the_log_of_its_mean_probability():
    prob = (SCORE + torch.tensor(COUNTS).log()).softmax(1)[:, 1]
    torch.testing.assert_close(loss()(SCORE, torch.ones(6, dtype=torch.long)), -prob.mean().log())


def test_sample_weights_act_within_their_class():
    weight = torch.tensor([1.0, 0.3, 2.0, 0.0, 1.0, 0.5])
    assert loss()(SCORE, LABEL, weight).item() == pytest.approx(naive(SCORE, LABEL, weight=weight))
    torch.testing.assert_close(loss()(SCORE, LABEL, 3 * weight), loss()(SCORE, LABEL, weight))
    mask = torch.tensor([1.0, 0, 1, 1, 1, 1])  # class 1 is absent
    torch.testing.assert_close(loss()(SCORE, LABEL, mask), loss()(SCORE[[0, 2, 3, 4, 5]], LABEL[[0, 2, 3, 4, 5]]))
    assert loss()(SCORE, LABEL, 0 * weight) == 0


def test_soft_labels_weight_a_sample_in_several_classes():
    label, other, lam = LABEL, LABEL.roll(1), 0.7
    soft = lam * F.one_hot(label, 4) + (1 - lam) * F.one_hot(other, 4)
    weight = torch.tensor([lam] * 6 + [1 - lam] * 6)
    expected = naive(torch.cat([SCORE, SCORE]), torch.cat([label, other]), weight=weight)
    assert loss()(SCORE, soft).item() == pytest.approx(expected)


def test_a_sample_below_the_smallest_probability_counts_without_gradient():
    score = SCORE.clone()
    score[2, 3] = -100
    score.requires_grad_()
    value = loss(min_prob=1e-3)(score, LABEL)
    value.backward()
    prob = (SCORE[3] + torch.tensor(COUNTS).log()).softmax(0)[3]
    alone = loss(min_prob=1e-3)(score[2:4], LABEL[2:4])
    torch.testing.assert_close(alone, -((prob + 1e-3) / 2).log())
    assert not score.grad[2].any() and score.grad[3].all()


def test_perfect_logits_have_no_loss_and_a_finite_gradient():
    for p in (1.0, 2.0):
        score = (1e3 * F.one_hot(LABEL, 4).float()).requires_grad_()
        value = loss(p=p)(score, LABEL)
        value.backward()
        assert value == 0 and not score.grad.any()


def test_per_batch_losses_have_no_other_reduction():
    with pytest.raises(ValueError, match='`reduction_override`.*none'):
        loss()(SCORE, LABEL, reduction_override='none')
    torch.testing.assert_close(loss()(SCORE, LABEL, avg_factor=100), loss()(SCORE, LABEL))
    assert loss().needs_whole_batch and loss().balances_classes
