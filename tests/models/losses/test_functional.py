import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.functional import cross_entropy_with_grad, fused_loss


def cubes(score: Tensor) -> Tensor:
    """Sum of the cubes of each row."""
    return (score**3).sum(1)


def with_grad(score: Tensor) -> tuple[Tensor, Tensor]:
    assert not torch.is_grad_enabled()
    return cubes(score), 3 * score**2


def test_first_and_second_derivatives_are_right():
    score = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: fused_loss(z, cubes, with_grad), score)
    assert torch.autograd.gradgradcheck(lambda z: fused_loss(z, cubes, with_grad), score)


def test_the_given_gradient_times_the_factor_is_used():
    score = torch.ones(2, 3, requires_grad=True)
    fused_loss(score, cubes, lambda z: (cubes(z), torch.full_like(z, 7)), factor=0.5).sum().backward()
    torch.testing.assert_close(score.grad, torch.full((2, 3), 3.5))


@pytest.mark.parametrize('requires_grad', [True, False])
def test_without_a_need_for_gradients_none_is_computed(requires_grad):
    score = torch.ones(2, 3, requires_grad=requires_grad)
    with torch.set_grad_enabled(not requires_grad):
        assert fused_loss(score, cubes, None).tolist() == [3, 3]


def test_backward_can_run_twice():
    score = torch.ones(2, 3, requires_grad=True)
    loss = fused_loss(score, cubes, with_grad).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(score.grad, torch.full((2, 3), 6.0))


def test_exceptions_have_a_formula_of_their_own():
    positions = torch.tensor([1, 2, 7, 11])
    exceptions = (positions, lambda z: 5 * z.square(), lambda z: (5 * z.square(), 10 * z))
    cube = (lambda z: z**3, lambda z: (z**3, 3 * z**2))
    score = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    expected = (score**3).flatten().index_copy(0, positions, 5 * score.flatten()[positions].square()).view(4, 3)
    torch.testing.assert_close(fused_loss(score, *cube, exceptions=exceptions), expected)
    assert torch.autograd.gradcheck(lambda z: fused_loss(z, *cube, exceptions=exceptions), score)
    assert torch.autograd.gradgradcheck(lambda z: fused_loss(z, *cube, exceptions=exceptions), score)
    transposed = score.detach().T.contiguous().T.requires_grad_()
    torch.testing.assert_close(fused_loss(transposed, *cube, exceptions=exceptions), expected)


def test_the_total_is_the_sum():
    score, weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.rand(5, 1, dtype=torch.float64)

    def total(score: Tensor) -> Tensor:
        pair = (lambda z: weight * z**3, lambda z: (weight * z**3, 3 * weight * z**2))
        return fused_loss(score, *pair, total=True)

    torch.testing.assert_close(total(score), (weight * score**3).sum())
    torch.testing.assert_close(total(score.detach()), (weight * score**3).sum().detach())
    assert torch.autograd.gradcheck(total, score)
    assert torch.autograd.gradgradcheck(total, score)


@pytest.mark.parametrize('scale', [1.0, 30.0, 1e4])
def test_cross_entropy_with_grad_is_that_of_pytorch(scale):
    logits, label = (scale * torch.randn(6, 5)).requires_grad_(), torch.tensor([0, 1, 2, 3, 4, 0])
    expected = F.cross_entropy(logits, label, reduction='none')
    (expected_grad,) = torch.autograd.grad(expected.sum(), logits)
    loss, grad = cross_entropy_with_grad(logits.detach(), label)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(grad, expected_grad)
