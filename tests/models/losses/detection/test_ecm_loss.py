import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.detection.ecm_loss import ECMLoss, ecm_loss, ecm_margins_and_weights

COUNTS = [900, 60, 4, 1]
C = len(COUNTS)


def build(dense=False, counts=COUNTS, **options):
    loss = ECMLoss(class_counts=counts, **options)
    (loss.get_dense_channels if dense else loss.get_cls_channels)(len(counts))
    return loss


def batch(columns=C + 1, num=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(num, columns, generator=generator, dtype=torch.float64)
    return score.requires_grad_(), torch.randint(C + 1, (num,), generator=generator)


def authors_form(score, label, counts, ratio):
    """-log of e^{z + w+} / (e^{z + w+} + e^{-z + w-}) for positives, entry by entry."""
    positive = torch.tensor([*counts, ratio * sum(counts)], dtype=torch.float64)
    negative = positive.sum() - positive
    a = negative / positive
    weight = a * torch.log((1 + a) / a)
    above = torch.log((positive**0.25 + negative**0.25) / negative**0.25)
    below = torch.log((positive**0.25 + negative**0.25) / positive**0.25)
    rows = []
    for z, y in zip(score, label):
        entries = []
        for j in range(score.size(1)):
            p = torch.exp(z[j] + above[j]) / (torch.exp(z[j] + above[j]) + torch.exp(-z[j] + below[j]))
            entries.append(-weight[j] * torch.log(p if j == y else 1 - p))
        rows.append(sum(entries))
    return torch.stack(rows)


@pytest.mark.parametrize('dense', [False, True])
def test_formula(dense):
    score, label = batch(C + (not dense))
    loss = build(dense, background_ratio=2.5)
    expected = authors_form(score, label, COUNTS, 2.5).sum() / 10
    values = [loss(score, label), expected]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, score)[0] for value in values))


def test_rarer_classes_have_lower_margins_and_weights_near_one():
    margin, weight = ecm_margins_and_weights(np.array(COUNTS), 6.3313)
    assert (np.diff(margin[:C]) < 0).all() and (np.diff(weight[:C]) > 0).all()
    assert margin[C] > 0 and weight[C] < weight[0] and weight[C - 1] == pytest.approx(1, abs=1e-3)


def test_class_without_instances_counts_as_one_with_one():
    for ours, other in zip(*(ecm_margins_and_weights(np.array(n), 2.0) for n in ([5, 0], [5, 1]))):
        np.testing.assert_array_equal(ours, other)
    assert all(np.isfinite(values).all() for values in ecm_margins_and_weights(np.array([3]), 1.0))


def test_one_class_in_a_dense_head_is_finite():
    score = torch.zeros(2, 1, requires_grad=True)
    loss = build(True, counts=[7])
    loss(score, torch.tensor([0, 1])).backward()
    assert score.grad.isfinite().all()


def test_counts_are_of_instances():
    counts = dict(instance_counts=[900, 60, 20], image_counts=[500, 40, 10], num_images=1000)
    torch.testing.assert_close(build(counts=counts).margin, build(counts=[900, 60, 20]).margin)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_derivative_of_large_logits(dtype):
    score = torch.tensor([[300.0, -300.0]], dtype=dtype, requires_grad=True)
    ecm_loss(score, torch.tensor([1]), torch.zeros(2), torch.ones(2)).sum().backward()
    torch.testing.assert_close(score.grad, torch.tensor([[2.0, -2.0]], dtype=dtype))


def test_scores_have_neither_factor_nor_margin():
    score, _ = batch()
    prob = score.sigmoid()
    torch.testing.assert_close(build().get_activation(score)[:, :C], prob[:, :C] * (1 - prob[:, C:]))


def test_bias_of_the_classifier():
    assert build().prior_prob is None and build(dense=True).prior_prob == 0.01


def test_weight_and_avg_factor():
    score, label = batch()
    weight = torch.rand(10).double()
    expected = (authors_form(score, label, COUNTS, 6.3313) * weight).sum() / 4
    torch.testing.assert_close(build(loss_weight=3.0)(score, label, weight, avg_factor=4.0), 3 * expected)


def test_equal_counts_without_background_give_plain_entropy_up_to_a_margin():
    loss = build(True, counts=[5, 5], background_ratio=1e-12)
    score = torch.randn(6, 2, dtype=torch.float64)
    label = torch.tensor([0, 1, 2, 2, 1, 0])
    target = F.one_hot(label, 3)[:, :2].double()
    expected = F.binary_cross_entropy_with_logits(2 * score, target, reduction='sum') * np.log(2) / 6
    torch.testing.assert_close(loss(score, label), expected)


def test_counts_with_background():
    with pytest.raises(ClassDistributionError, match=r'to have 4 entries, but got 5.*Leave the background'):
        ECMLoss(num_classes=4, class_counts=[5, 4, 3, 2, 100])
