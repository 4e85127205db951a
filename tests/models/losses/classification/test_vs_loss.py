import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import BalancedSoftmaxLoss, CDTLoss, VSLoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def test_formula():
    score, n = torch.randn(5, 4, dtype=torch.float64), torch.tensor(COUNTS).double()
    adjusted = score / (n.max() / n) ** 0.2 + 1.2 * (n / n.sum()).log()
    torch.testing.assert_close(
        VSLoss(gamma=0.2, tau=1.2, class_counts=COUNTS)(score, LABEL), F.cross_entropy(adjusted, LABEL)
    )


@pytest.mark.parametrize('counts', [COUNTS, [500, 60, 0, 3]])
def test_limits_are_balanced_softmax_and_cdt(counts):
    score, label = torch.randn(5, 4), torch.tensor([0, 1, 3, 3, 1])
    kwargs = dict(class_counts=counts, reduction='none')
    torch.testing.assert_close(
        VSLoss(gamma=0, tau=1, **kwargs)(score, label), BalancedSoftmaxLoss(**kwargs)(score, label)
    )
    torch.testing.assert_close(
        VSLoss(gamma=0.3, tau=0, **kwargs)(score, label), CDTLoss(gamma=0.3, **kwargs)(score, label)
    )
