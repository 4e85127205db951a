"""Losses whose gradient is computed along with their value: fewer passes over the (N, C) logits than autograd needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

__all__ = ['fused_loss']


def fused_loss(
    cls_score: Tensor,
    value: Callable[[Tensor], Tensor],
    value_and_grad: Callable[[Tensor], tuple[Tensor, Tensor]],
    factor: float = 1.0,
) -> Tensor:
    """The loss of each sample, (N,), or of each label, (N, C), differentiable any number of times.

    Args:
        cls_score: logits, (N, C).
        value: the losses (N,) or (N, C) of logits, by operations that autograd knows; used where no gradient is asked
            for, and for second derivatives.
        value_and_grad: the same, and the gradient (N, C) of each sample's (label's) loss by its logits, up to
            ``factor``; called without autograd.
        factor: what that gradient still has to be multiplied by.
    """
    if not (cls_score.requires_grad and torch.is_grad_enabled()):
        return value(cls_score)
    return _FusedLoss.apply(cls_score, value, value_and_grad, factor)


class _FusedLoss(Function):
    @staticmethod
    def forward(ctx: Any, cls_score: Tensor, value: Callable, value_and_grad: Callable, factor: float) -> Tensor:
        loss, grad = value_and_grad(cls_score)
        ctx.value, ctx.factor = value, factor
        ctx.save_for_backward(cls_score, grad)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None, None]:
        cls_score, grad = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient itself has to be differentiable
            (grad_score,) = torch.autograd.grad(ctx.value(cls_score), cls_score, grad_loss, create_graph=True)
        else:
            of_sample = grad_loss.unsqueeze(1) if grad_loss.dim() == 1 else grad_loss
            grad_score = grad * (of_sample if ctx.factor == 1 else ctx.factor * of_sample)  # (N, C)
        return grad_score, None, None, None
