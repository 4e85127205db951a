import numpy as np
import pytest
import torch

from ltmm.models.losses import BalancedBCELoss, ClassBalancedBCELoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def binary_cross_entropy(score: float, target: float) -> float:
    probability = 1 / (1 + np.exp(-score))
    return -target * np.log(probability) - (1 - target) * np.log(1 - probability)


@pytest.mark.parametrize('tau, smoothing', [(1.0, 0.0), (1.05, 0.1), (0.0, 0.3)])
@pytest.mark.parametrize('soft', [False, True])
def test_formula(tau, smoothing, soft):
    score = torch.randn(5, 4, dtype=torch.float64)
    label = torch.rand(5, 4, dtype=torch.float64).softmax(1) if soft else LABEL
    rows = label if soft else torch.eye(4, dtype=torch.float64)[label]
    loss = BalancedBCELoss(tau=tau, smoothing=smoothing, class_counts=COUNTS)(score, label)
    prior, expected = np.array(COUNTS) / sum(COUNTS), 0.0
    for i in range(5):
        for c in range(4):
            target = rows[i, c].item() * (1 - smoothing) + smoothing / 4
            shifted = score[i, c].item() + tau * (np.log(prior[c]) - np.log(1 - prior[c]))
            expected += binary_cross_entropy(shifted, target) / 5
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_weights_belong_to_classes_not_to_samples():
    score = torch.randn(5, 4, dtype=torch.float64)
    loss = ClassBalancedBCELoss(beta=0.99, class_counts=COUNTS)(score, LABEL)
    weight = np.array([0.01 / (1 - 0.99**n) for n in COUNTS])
    weight *= 4 / weight.sum()
    expected = sum(
        weight[c] * binary_cross_entropy(score[i, c].item(), float(label == c)) / 5
        for i, label in enumerate(LABEL)
        for c in range(4)
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_smoothing_before_and_after_mixup_is_the_same():
    score, one_hot = torch.randn(5, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)[LABEL]
    mixed, smooth = 0.3 * one_hot + 0.7 * one_hot.flip(0), 0.9 * one_hot + 0.1 / 4
    losses = (BalancedBCELoss(smoothing=smoothing, class_counts=COUNTS) for smoothing in (0.1, 0.0))
    after, before = (loss(score, t) for loss, t in zip(losses, (mixed, 0.3 * smooth + 0.7 * smooth.flip(0))))
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize('counts, without', [([500, 60, 0, 3], 2), ([563, 0, 0, 0], slice(None))])
def test_class_without_binary_problem_gets_no_gradient(counts, without):
    score = torch.randn(5, 4, requires_grad=True)
    loss = BalancedBCELoss(smoothing=0.1, class_counts=counts)(score, torch.zeros(5, dtype=torch.long))
    loss.backward()
    assert loss.isfinite() and score.grad.isfinite().all() and not score.grad[:, without].any()


def test_finite_of_8142_classes_in_float16():
    """The sum over the classes overflows float16, so it is computed in float32."""
    score, label = torch.full((2, 8142), 300.0).half(), torch.tensor([0, 8141])
    assert BalancedBCELoss(class_counts=[10] * 8142)(score, label).isfinite()
