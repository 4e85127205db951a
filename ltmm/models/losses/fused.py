"""Losses whose gradient is computed along with their value: fewer passes over the (N, C) logits than autograd needs."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

__all__ = ['fused_loss', 'with_exceptions']


BLOCK = 1 << 17  # logits that are computed at a time on a CPU: what fits its cache is fastest


def fused_loss(
    cls_score: Tensor,
    value: Callable[..., Tensor],
    value_and_grad: Callable[..., tuple[Tensor, Tensor]],
    factor: float = 1.0,
    inputs: tuple[Tensor, ...] = (),
    exceptions: tuple[Tensor, Callable, Callable] | None = None,
    total: bool = False,
) -> Tensor:
    """The loss of each sample, (N,), or of each label, (N, C), differentiable any number of times.

    Args:
        cls_score: logits, (N, C).
        value: the losses (N,) or (N, C) of logits and ``inputs``, by operations that autograd knows; used where no
            gradient is asked for, and for second derivatives.
        value_and_grad: the same, and the gradient (N, C) of each sample's (label's) loss by its logits, up to
            ``factor``; called without autograd.
        factor: what that gradient still has to be multiplied by.
        inputs: further tensors of N rows, without gradient. Losses that take all they know of the samples from them are
            computed in blocks of rows on a CPU.
        exceptions: few labels of a loss (N, C) that have a formula of their own: where they are in the flattened
            logits, rising, (P,), and ``value`` and ``value_and_grad`` of their logits, (P,). They ask for blocks too.
        total: the sum of all losses instead, a number, for which they need not be kept.
    """
    each = with_exceptions(value, *exceptions[:2]) if exceptions else value

    def reduced(cls_score: Tensor, *inputs: Tensor) -> Tensor:
        return each(cls_score, *inputs).sum() if total else each(cls_score, *inputs)

    if not (cls_score.requires_grad and torch.is_grad_enabled()):
        return reduced(cls_score, *inputs)
    return _FusedLoss.apply(cls_score, reduced, value_and_grad, factor, exceptions, total, *inputs)


def with_exceptions(value: Callable, positions: Tensor, value_of_exceptions: Callable) -> Callable:
    """``value`` with other losses at some positions; for the arguments see :func:`fused_loss`."""

    def each(cls_score: Tensor, *inputs: Tensor) -> Tensor:
        loss, own = value(cls_score, *inputs), value_of_exceptions(cls_score.flatten()[positions])
        return loss.flatten().index_copy(0, positions, own).view_as(loss)

    return each


def _in_blocks(
    value_and_grad: Callable, exceptions: tuple | None, total: bool, cls_score: Tensor, *inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses, or their sum, and gradients, block by block where that can be and helps."""
    num_rows, own = max(len(cls_score), 1), None
    if (inputs or exceptions) and cls_score.is_cpu and cls_score.numel() > BLOCK:
        num_rows = max(BLOCK // cls_score.size(1), 1)
    if exceptions:
        cls_score, *inputs = (tensor.contiguous() for tensor in (cls_score, *inputs))
        own = _own_losses(cls_score, num_rows * cls_score.size(1), *exceptions)
    losses, grads = [], torch.empty_like(cls_score) if num_rows < len(cls_score) else None
    for rows in zip(*(tensor.split(num_rows) for tensor in (cls_score, *inputs))):
        loss, grad = value_and_grad(*rows)
        if own:
            positions, own_loss, own_grad = next(own)
            loss.view(-1).index_copy_(0, positions, own_loss)
            grad.view(-1).index_copy_(0, positions, own_grad)
        loss = loss.sum() if total else loss
        if grads is None:
            return loss, grad
        first = len(losses) * num_rows
        grads[first : first + num_rows] = grad
        losses.append(loss)
    return sum(losses) if total else torch.cat(losses), grads


def _own_losses(
    cls_score: Tensor, num_labels: int, positions: Tensor, value: Callable, value_and_grad: Callable
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions, losses and gradients of the exceptions in each block of ``num_labels`` labels, from its start."""
    loss, grad = value_and_grad(cls_score.flatten()[positions])
    starts, ends = range(0, cls_score.numel(), max(num_labels, 1)), [len(positions)]
    if len(starts) > 1:
        ends = torch.searchsorted(positions, torch.tensor(starts) + num_labels).tolist()
    for start, first, end in zip(starts or [0], [0, *ends], ends):
        yield positions[first:end] - start, loss[first:end], grad[first:end]


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
        *inputs: Tensor,
    ) -> Tensor:
        loss, grad = _in_blocks(value_and_grad, exceptions, total, cls_score, *inputs)
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
            of_loss = grad_loss.unsqueeze(1) if grad_loss.dim() == 1 else grad_loss
            grad_score = grad * (of_loss if ctx.factor == 1 else ctx.factor * of_loss)  # (N, C)
        return grad_score, *[None] * (5 + len(inputs))
