import math

import pytest
import torch

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.post_process import LogitAdjustment, adjust_logits

COUNTS = [500, 60, 20, 3]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('tau', [0, 0.5, 1, 2])
def test_equals_the_formula(dtype, tau, head):
    score = torch.randn(5, 4, dtype=dtype)
    expected = score.clone()
    for c, count in enumerate(COUNTS):
        expected[:, c] -= math.log((count / sum(COUNTS)) ** tau + 1e-12)
    got = LogitAdjustment(tau, class_counts=COUNTS)(score, None, head)
    assert got.dtype == dtype
    torch.testing.assert_close(got, expected)


def test_equal_counts_and_tau_zero(head):
    score = torch.randn(50, 4)
    assert torch.equal(LogitAdjustment(class_counts=[7] * 4)(score, None, head).argmax(1), score.argmax(1))
    torch.testing.assert_close(LogitAdjustment(0.0, class_counts=COUNTS)(score, None, head), score)


def test_class_without_samples_is_not_favored(head):
    adjusted = LogitAdjustment(class_counts=[500, 60, 0, 3])(torch.zeros(1, 4), None, head)[0]
    assert adjusted[2] == 0
    assert (adjusted[[0, 1, 3]] > 0).all()


def test_large_logits_and_bfloat16_stay_finite():
    prior = torch.tensor([0.9, 0.1 - 1e-9, 1e-9])
    for score in (torch.tensor([[1e4, -1e4, 0.0]]), torch.randn(2, 3, dtype=torch.bfloat16)):
        adjusted = adjust_logits(score, prior, 1.0, 1e-12)
        assert adjusted.dtype == score.dtype and adjusted.isfinite().all()


def test_prior_of_the_class_distribution(head):
    step = LogitAdjustment()
    with pytest.raises(RuntimeError, match=r'LogitAdjustment needs the class distribution.*class_counts=\[...\]'):
        step(torch.zeros(1, 4), None, head)
    step.set_class_distribution(ClassDistribution(COUNTS))
    expected = LogitAdjustment(class_counts=COUNTS)(torch.zeros(1, 4), None, head)
    torch.testing.assert_close(step(torch.zeros(1, 4), None, head), expected)


def test_wrong_number_of_classes(head):
    with pytest.raises(ValueError, match='logits of 3 classes.* but got 4'):
        LogitAdjustment(class_counts=[3, 2, 1])(torch.zeros(1, 4), None, head)
    with pytest.raises(
        ClassDistributionError, match='to have 4 entries, one per class of the training data, but got 3'
    ):
        LogitAdjustment(class_counts=[3, 2, 1]).set_class_distribution(ClassDistribution(COUNTS))
