import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import BalancedSoftmaxLoss
from ltmm.models.losses.classification.logit_adjustment_loss import LogitAdjustmentLoss, logit_adjustment_offset

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


@pytest.mark.parametrize('tau', [0.5, 1, 2.5])
def test_pairwise_form_of_the_paper(tau):
    """log(1 + sum_(c != y) (pi_c / pi_y)^tau e^(z_c - z_y)), sample by sample."""
    score = torch.randn(5, 4, dtype=torch.float64)
    loss = LogitAdjustmentLoss(tau=tau, class_counts=COUNTS, reduction='none')(score, LABEL)
    expected = []
    for z, y in zip(score.tolist(), LABEL.tolist()):
        others = sum((COUNTS[c] / COUNTS[y]) ** tau * np.exp(z[c] - z[y]) for c in range(4) if c != y)
        expected.append(np.log1p(others))
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-7)


def test_limits_are_balanced_softmax_and_cross_entropy():
    score = torch.randn(5, 4)
    balanced = BalancedSoftmaxLoss(class_counts=COUNTS)(score, LABEL)
    torch.testing.assert_close(LogitAdjustmentLoss(class_counts=COUNTS)(score, LABEL), balanced)
    torch.testing.assert_close(
        LogitAdjustmentLoss(tau=0, class_counts=COUNTS)(score, LABEL), F.cross_entropy(score, LABEL)
    )


def test_class_without_samples_has_the_epsilon_of_the_authors():
    np.testing.assert_allclose(logit_adjustment_offset(np.array([1.0, 0.0]), 1.5), [0, np.log(1e-12)], atol=1e-11)
