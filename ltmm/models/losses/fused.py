"""Losses whose gradient is computed along with their value: fewer passes over the (N, C) logits than autograd needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

__all__ = ['fused_loss']


BLOCK = 1 << 16  # logits that are computed at a time on a CPU: what fits its cache is fastest


def fused_loss(
    cls_score: Tensor,
    value: Callable[..., Tensor],
    value_and_grad: Callable[..., tuple[Tensor, Tensor]],
    factor: float = 1.0,
    inputs: tuple[Tensor, ...] = (),
) -> Tensor:
    """The loss of each sample, (N,), or of each label, (N, C), differentiable any number of times.

    Args:
        cls_score: logits, (N, C).
        value: the losses (N,) or (N, C) of logits and ``inputs``, by operations that autograd knows; used where no
            gradient is asked for, and for second derivatives.
        value_and_grad: the same, and the gradient (N, C) of each sample's (label's) loss by its logits, up to
            ``factor``; called without autograd.
        factor: what that gradient still has to be multiplied by.
        inputs: further tensors of N rows, without gradient. Losses (N, C) that take all they know of the samples from
            them are computed in blocks of rows on a CPU.
    """
    if not (cls_score.requires_grad and torch.is_grad_enabled()):
        return value(cls_score, *inputs)
    return _FusedLoss.apply(cls_score, value, value_and_grad, factor, *inputs)


def _in_blocks(value_and_grad: Callable, cls_score: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """``value_and_grad`` of losses (N, C), block by block."""
    loss, grad = torch.empty_like(cls_score), torch.empty_like(cls_score)
    step = max(BLOCK // max(cls_score.size(1), 1), 1)
    for start in range(0, len(cls_score), step):
        rows = slice(start, start + step)
        loss[rows], grad[rows] = value_and_grad(cls_score[rows], *(tensor[rows] for tensor in inputs))
    return loss, grad


class _FusedLoss(Function):
    @staticmethod
    def forward(
        ctx: Any, cls_score: Tensor, value: Callable, value_and_grad: Callable, factor: float, *inputs: Tensor
    ) -> Tensor:
        if inputs and cls_score.is_cpu and cls_score.numel() > BLOCK:
            loss, grad = _in_blocks(value_and_grad, cls_score, *inputs)
        else:
            loss, grad = value_and_grad(cls_score, *inputs)
        ctx.value, ctx.factor = value, factor
        ctx.save_for_backward(cls_score, grad, *inputs)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        cls_score, grad, *inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: the gradient itself has to be differentiable
            loss = ctx.value(cls_score, *inputs)
            (grad_score,) = torch.autograd.grad(loss, cls_score, grad_loss, create_graph=True)
        else:
            of_sample = grad_loss.unsqueeze(1) if grad_loss.dim() == 1 else grad_loss
            grad_score = grad * (of_sample if ctx.factor == 1 else ctx.factor * of_sample)  # (N, C)
        return grad_score, None, None, None, *(None for _ in inputs)
