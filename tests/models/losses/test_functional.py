import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.functional import power, sigmoid_focal


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_sigmoid_focal(gamma):
    score = torch.randn(5, dtype=torch.float64)
    expected = -score.sigmoid().log() * (1 - score.sigmoid()) ** gamma
    torch.testing.assert_close(sigmoid_focal(-score, gamma), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_sigmoid_focal_of_hard_and_easy_labels(gamma):
    wrong = torch.tensor([15.0, 1e4, -15.0, -1e4], requires_grad=True)
    loss = sigmoid_focal(wrong, gamma)
    (grad,) = torch.autograd.grad(loss.sum(), wrong)
    torch.testing.assert_close(loss[:2], torch.tensor([15.0, 1e4]))
    torch.testing.assert_close(grad[:2], torch.ones(2))
    easy = F.softplus(torch.tensor(-15.0)) * torch.tensor(-15.0 * gamma).exp()
    torch.testing.assert_close(loss[2], easy)
    assert loss[3] == 0 and grad.isfinite().all()


@pytest.mark.parametrize('exponent', [0, 0.5, 1, 2, 3, 4, 5])
def test_power(exponent):
    base = torch.rand(7)
    torch.testing.assert_close(power(base, exponent), base**exponent)


def test_power_has_a_finite_gradient_at_zero():
    base = torch.zeros(1, requires_grad=True)
    assert torch.autograd.grad(power(base, 0.5), base)[0].isfinite()
