import pytest
import torch

from ltmm.models.losses import ASLLoss, MultiLabelBCELoss

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = (torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()


@pytest.mark.parametrize('gamma_neg, gamma_pos, clip', [(4, 0, 0.05), (4, 1, 0.05), (2, 2, 0), (2.5, 0.5, 0.2)])
def test_equals_the_formula(gamma_neg, gamma_pos, clip):
    p = SCORE.sigmoid()
    q = (1 - p + clip).clamp(max=1)
    expected = -TARGET * (1 - p) ** gamma_pos * p.log() - (1 - TARGET) * (1 - q) ** gamma_neg * q.log()
    torch.testing.assert_close(ASLLoss(gamma_neg, gamma_pos, clip)(SCORE, TARGET), expected.sum())


@pytest.mark.parametrize('detach_focus', [True, False])
@pytest.mark.parametrize('gamma_neg, gamma_pos', [(1, 1), (0, 1), (1, 0), (4, 2), (2.5, 0.5)])
@pytest.mark.parametrize('clip', [0, 0.05])
def test_in_training_it_has_the_same_value_and_the_gradient_of_autograd(gamma_neg, gamma_pos, clip, detach_focus):
    loss = ASLLoss(gamma_neg, gamma_pos, clip, detach_focus)
    score = SCORE.clone().requires_grad_()
    in_training = loss(score, TARGET)
    torch.testing.assert_close(in_training, loss(SCORE, TARGET))
    (grad,) = torch.autograd.grad(in_training, score, retain_graph=True)
    (expected,) = torch.autograd.grad(in_training, score, create_graph=True)  # goes through the formula
    torch.testing.assert_close(grad, expected)


def test_positives_that_score_very_low_keep_their_precision():
    score = torch.tensor([[-10.0, -14.0, -15.0, -16.5, -17.0, -18.0]], requires_grad=True)
    loss = ASLLoss()(score, torch.ones(1, 6))
    torch.testing.assert_close(loss, -score.sum().detach(), rtol=1e-6, atol=1e-4)
    loss.backward()
    torch.testing.assert_close(score.grad, torch.full((1, 6), -1.0), rtol=1e-4, atol=0)


def test_without_focus_and_margin_it_is_the_sum_of_bce():
    expected = MultiLabelBCELoss(reduction='sum')(SCORE, TARGET)
    torch.testing.assert_close(ASLLoss(0, 0, 0)(SCORE, TARGET), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 4])
def test_negatives_below_the_margin_have_no_gradient(gamma):
    score = torch.tensor([[-4.0, 4.0]], requires_grad=True)
    ASLLoss(gamma, 0, 0.05, detach_focus=False)(score, torch.zeros(1, 2)).backward()
    assert score.grad[0, 0] == 0 and score.grad[0, 1] > 0


@pytest.mark.parametrize(
    'arguments, message',
    [(dict(clip=1), '`clip` to be in'), (dict(gamma_neg=-1), '`gamma_neg` to be at least 0'), (dict(eps=0), '`eps`')],
)
def test_constants_out_of_range_are_refused_at_build(arguments, message):
    with pytest.raises(ValueError, match=message):
        ASLLoss(**arguments)
