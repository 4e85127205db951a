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
def test_softmax_and_sigmoid_equal_the_formula(beta):
    score, target = torch.randn(5, 4, dtype=torch.float64), F.one_hot(LABEL, 4).double()
    weight = weight_of(beta)[LABEL]
    softmax = (weight * F.cross_entropy(score, LABEL, reduction='none')).sum() / 5
    bce = F.binary_cross_entropy_with_logits(score, target, reduction='none').sum(1)
    for loss_type, expected in (('softmax', softmax), ('sigmoid', (weight * bce).sum() / 5)):
        loss = ClassBalancedLoss(loss_type, beta, class_counts=COUNTS)(score, LABEL, avg_factor=5)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_the_factor_of_the_loss():
    score = torch.randn(5, 4)
    for loss_type, gamma in (('softmax', None), ('focal', 1.0)):
        single, double = (
            ClassBalancedLoss(loss_type, 0.9, gamma, loss_weight=factor, class_counts=COUNTS)(score, LABEL)
            for factor in (1.0, 2.0)
        )
        torch.testing.assert_close(double, 2 * single)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('hinge', 0.9), r"Expected `loss_type` to be one of \['focal', 'sigmoid', 'softmax'\], but got 'hinge'"),
        (('focal', 0.9), "`gamma` belongs to loss_type='focal', but got loss_type='focal' and gamma=None"),
        (('softmax', 0.9, 1.0), "`gamma` belongs to loss_type='focal', but got loss_type='softmax' and gamma=1.0"),
        (('focal', 0.9, -1.0), 'Expected `gamma` to be at least 0, but got -1.0'),
        (('softmax', 1.5), r'Expected `beta` to be in \[0, 1\), but got 1.5'),
    ],
)
def test_what_cannot_be_is_refused_at_build(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassBalancedLoss(*arguments)
