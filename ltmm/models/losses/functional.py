"""Losses whose gradient is computed along with their value: fewer passes over the (N, C) logits than autograd needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

__all__ = ['cross_entropy_with_grad', 'fused_loss', 'with_exceptions']


def fused_loss(
    cls_score: Tensor,
    value: Callable[..., Tensor],
    value_and_grad: Callable[..., tuple[Tensor, Tensor]],
    factor: float = 1.0,
    exceptions: tuple[Tensor, Callable, Callable] | None = None,
    total: bool = False,
) -> Tensor:
    """The loss of each sample, (N,), or of each label, (N, C), differentiable any number of times.

    Args:
        cls_score: logits, (N, C).
        value: the losses (N,) or (N, C) of the logits, by operations that autograd knows; used where no
            gradient is asked for, and for second derivatives.
        value_and_grad: the same, and the gradient (N, C) of each sample's (label's) loss by its logits, up to
            ``factor``; called without autograd.
        factor: what that gradient still has to be multiplied by.
        exceptions: few labels of a loss (N, C) that have a formula of their own: where they are in the flattened
            logits, (P,), and ``value`` and ``value_and_grad`` of their logits, (P,).
        total: the sum of all losses instead, a number, for which they need not be kept.
    """
    each = with_exceptions(value, *exceptions[:2]) if exceptions else value

    def reduced(cls_score: Tensor) -> Tensor:
        return each(cls_score).sum() if total else each(cls_score)

    if not (cls_score.requires_grad and torch.is_grad_enabled()):
        return reduced(cls_score)
    return _FusedLoss.apply(cls_score, reduced, value_and_grad, factor, exceptions, total)


def cross_entropy_with_grad(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of each sample, (N,), and its gradient, (N, C); without the exponentials that log_softmax asks for.

    Args:
        logits: (N, C).
        label: class indices, (N,).
    """
    prob, index = logits.softmax(1), label.unsqueeze(1)  # (N, C), (N, 1)
    below = logits.amax(1, keepdim=True) - logits.gather(1, index)  # how far the label is from the highest, (N, 1)
    loss = below - prob.amax(1, keepdim=True).log()
    return loss.squeeze(1), prob.scatter_add_(1, index, -torch.ones_like(loss))  # softmax - onehot


def with_exceptions(value: Callable, positions: Tensor, value_of_exceptions: Callable) -> Callable:
    """``value`` with other losses at some positions; for the arguments see :func:`fused_loss`."""

    def each(cls_score: Tensor) -> Tensor:
        loss, own = value(cls_score), value_of_exceptions(cls_score.flatten()[positions])
        return loss.flatten().index_copy(0, positions, own).view_as(loss)

    return each


class _FusedLoss(Function):
    @staticmethod
    def forward(
        ctx: Any,
        cls_score: Tensor,
        value: Callable,
        value_and_grad: Callable,
        factor: float,
        exceptions: tuple | None,
        total: bool,
    ) -> Tensor:
        loss, grad = value_and_grad(cls_score)
        if exceptions:
            positions, _, value_and_grad_of_exceptions = exceptions
            own_loss, own_grad = value_and_grad_of_exceptions(cls_score.flatten()[positions])
            loss, grad = loss.contiguous(), grad.contiguous()
            loss.view(-1).index_copy_(0, positions, own_loss)
            grad.view(-1).index_copy_(0, positions, own_grad)
        ctx.value, ctx.factor = value, factor
        ctx.save_for_backward(cls_score, grad)
        return loss.sum() if total else loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        cls_score, grad = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient itself has to be differentiable
            loss = ctx.value(cls_score)
            (grad_score,) = torch.autograd.grad(loss, cls_score, grad_loss, create_graph=True)
        else:
            of_loss = grad_loss.unsqueeze(1) if grad_loss.dim() == 1 else grad_loss
            grad_score = grad * (of_loss if ctx.factor == 1 else ctx.factor * of_loss)  # (N, C)
        return grad_score, *[None] * 5
