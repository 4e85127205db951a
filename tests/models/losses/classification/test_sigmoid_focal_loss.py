import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.sigmoid_focal_loss import SigmoidFocalLoss, sigmoid_focal_loss

LABEL = torch.tensor([0, 1, 3, 3, 2])
TARGET = F.one_hot(LABEL, 4).double()


@pytest.mark.parametrize('gamma', [0, 0.5, 1, 2])
def test_formula(gamma):
    score, soft = torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64)
    p = score.sigmoid()
    for label, target in ((LABEL, TARGET), (soft, soft)):
        expected = -(target * (1 - p) ** gamma * p.log() + (1 - target) * p**gamma * (1 - p).log()).sum(1)
        torch.testing.assert_close(sigmoid_focal_loss(score, label, gamma), expected)


def test_gamma_0_is_binary_cross_entropy():
    score = torch.randn(5, 4)
    expected = F.binary_cross_entropy_with_logits(score, TARGET.float(), reduction='sum') / 5
    torch.testing.assert_close(SigmoidFocalLoss(gamma=0)(score, LABEL), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 1, 2])
def test_large_logits(gamma):
    score = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [40, -40], [-40, 40]], requires_grad=True)
    loss = sigmoid_focal_loss(score, torch.tensor([0, 0, 0, 0]), gamma)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([0, 2e4, 0, 80]))
    expected = torch.tensor([[0, 0], [-1, 1], [0, 0], [-1, 1.0]])
    torch.testing.assert_close(score.grad, expected, atol=1e-6, rtol=0)
