import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.sigmoid_focal_loss import SigmoidFocalLoss, sigmoid_focal_loss

LABEL = torch.tensor([0, 1, 3, 3, 2])
TARGET = F.one_hot(LABEL, 4).double()


def naive(score, target, gamma):
    """Class by class, with probabilities."""
    p = score.sigmoid()
    return -(target * (1 - p) ** gamma * p.log() + (1 - target) * p**gamma * (1 - p).log()).sum(1)


@pytest.mark.parametrize('gamma', [0, 0.5, 1, 2])
def test_equals_the_formula_and_its_gradient(gamma):
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    losses = [sigmoid_focal_loss(score, LABEL, gamma), naive(score, TARGET, gamma)]
    torch.testing.assert_close(*losses)
    probe = torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(loss @ probe, score)[0] for loss in losses))


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_soft_labels_weigh_the_two_answers_of_a_class(gamma):
    score, soft = torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64)
    torch.testing.assert_close(sigmoid_focal_loss(score, soft, gamma), naive(score, soft, gamma))


def test_strength_zero_is_binary_cross_entropy_over_samples():
    score = torch.randn(5, 4)
    expected = F.binary_cross_entropy_with_logits(score, TARGET.float(), reduction='sum') / 5
    torch.testing.assert_close(SigmoidFocalLoss(0)(score, LABEL), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 1, 2])
def test_far_logits_are_exact(gamma):
    score = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [40, -40], [-40, 40]], requires_grad=True)
    loss = sigmoid_focal_loss(score, torch.tensor([0, 0, 0, 0]), gamma)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([0, 2e4, 0, 80]))
    expected = torch.tensor([[0, 0], [-1, 1], [0, 0], [-1, 1.0]])
    torch.testing.assert_close(score.grad, expected, atol=1e-6, rtol=0)
