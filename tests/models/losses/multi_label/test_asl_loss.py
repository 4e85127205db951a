import pytest
import torch

from ltmm.models.losses import ASLLoss, MultiLabelBCELoss

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = (torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()


@pytest.mark.parametrize('gamma_neg, gamma_pos, clip', [(4, 0, 0.05), (4, 1, 0.05), (2, 2, 0), (2.5, 0.5, 0.2)])
def test_formula(gamma_neg, gamma_pos, clip):
    p = SCORE.sigmoid()
    q = (1 - p + clip).clamp(max=1)
    expected = -TARGET * (1 - p) ** gamma_pos * p.log() - (1 - TARGET) * (1 - q) ** gamma_neg * q.log()
    torch.testing.assert_close(
        ASLLoss(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip)(SCORE, TARGET), expected.sum()
    )


def test_hard_positives():
    score = torch.tensor([[-10.0, -14.0, -15.0, -16.5, -17.0, -18.0]], requires_grad=True)
    loss = ASLLoss()(score, torch.ones(1, 6))
    torch.testing.assert_close(loss, -score.sum().detach(), rtol=1e-6, atol=1e-4)
    loss.backward()
    torch.testing.assert_close(score.grad, torch.full((1, 6), -1.0), rtol=1e-4, atol=0)


def test_without_focus_and_margin_is_bce():
    expected = MultiLabelBCELoss(reduction='sum')(SCORE, TARGET)
    torch.testing.assert_close(ASLLoss(gamma_neg=0, gamma_pos=0, clip=0)(SCORE, TARGET), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 4])
def test_no_gradient_below_the_margin(gamma):
    score = torch.tensor([[-4.0, 4.0]], requires_grad=True)
    ASLLoss(gamma_neg=gamma, gamma_pos=0, clip=0.05, detach_focus=False)(score, torch.zeros(1, 2)).backward()
    assert score.grad[0, 0] == 0 and score.grad[0, 1] > 0
