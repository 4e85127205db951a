import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import ClassBalancedLoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def weight_of(beta):
    """(1 - beta) / (1 - beta^n), scaled to sum C."""
    weights = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    return torch.tensor([4 * w / sum(weights) for w in weights], dtype=torch.float64)


@pytest.mark.parametrize('beta', [0, 0.9, 0.9999])
def test_formula(beta):
    score, target = torch.randn(5, 4, dtype=torch.float64), F.one_hot(LABEL, 4).double()
    weight = weight_of(beta)[LABEL]
    softmax = (weight * F.cross_entropy(score, LABEL, reduction='none')).sum() / 5
    bce = F.binary_cross_entropy_with_logits(score, target, reduction='none').sum(1)
    for loss_type, expected in (('softmax', softmax), ('sigmoid', (weight * bce).sum() / 5)):
        loss = ClassBalancedLoss(loss_type=loss_type, beta=beta, class_counts=COUNTS)(score, LABEL, avg_factor=5)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_loss_weight():
    score = torch.randn(5, 4)
    for loss_type, gamma in (('softmax', None), ('focal', 1.0)):
        single, double = (
            ClassBalancedLoss(loss_type=loss_type, beta=0.9, gamma=gamma, loss_weight=factor, class_counts=COUNTS)(
                score, LABEL
            )
            for factor in (1.0, 2.0)
        )
        torch.testing.assert_close(double, 2 * single)
