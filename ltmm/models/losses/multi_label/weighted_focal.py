"""The formula that focal loss and what re-weights or shifts it have in common."""

from collections.abc import Callable

import torch
from torch import Tensor

from ltmm.models.losses.fused import fused_loss
from ltmm.models.losses.sigmoid_focal_loss import focal_of_wrong_logit, focal_of_wrong_logit_with_grad

__all__ = ['weighted_focal']


def weighted_focal(
    cls_score: Tensor,
    inputs: tuple[Tensor, ...],
    gamma: float,
    offset: Callable[..., Tensor] | Tensor | None = None,
    neg_scale: float = 1.0,
    weight: Callable[..., Tensor] | None = None,
) -> Tensor:
    r"""Focal loss of each label, (N, C): :math:`w f(z + b)`, of negatives :math:`w f(-\lambda (z + b)) / \lambda`.

    :math:`f(x) = (1 - \sigma(x))^\gamma (-\log \sigma(x))`.

    Args:
        cls_score: logits z, (N, C).
        inputs: targets, 1 positive and 0 negative, (N, C), and what else ``offset`` and ``weight`` depend on, of N rows
            each.
        gamma: strength; 0 is binary cross entropy.
        offset: b, (C,), or a function from ``inputs`` to (N, C).
        neg_scale: lambda.
        weight: from ``inputs`` to w, without gradient, (N, C), (N, 1) or (1, C); None for 1.
    """

    def wrong_logit(cls_score: Tensor, target: Tensor, *others: Tensor) -> Tensor:
        """-(z + b) of positives, lambda (z + b) of negatives."""
        if offset is not None:
            cls_score = cls_score + (offset(target, *others) if callable(offset) else offset)
        wrong = torch.addcmul(cls_score, cls_score, target, value=-1 - 1 / neg_scale)
        return wrong if neg_scale == 1 else wrong.mul_(neg_scale)

    def weighted(loss: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        loss = loss if weight is None else loss * weight
        return loss if neg_scale == 1 else loss * (target * (1 - 1 / neg_scale) + 1 / neg_scale)

    def value(cls_score: Tensor, *inputs: Tensor) -> Tensor:
        loss = focal_of_wrong_logit(wrong_logit(cls_score, *inputs), gamma)
        return weighted(loss, inputs[0], weight and weight(*inputs))

    def value_and_grad(cls_score: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        target = inputs[0]
        loss, grad = focal_of_wrong_logit_with_grad(wrong_logit(cls_score, *inputs), gamma)
        if weight is not None:
            factor = weight(*inputs)
            loss.mul_(factor)
            grad.mul_(factor)
        if neg_scale != 1:
            loss.addcmul_(loss, target, value=neg_scale - 1).mul_(1 / neg_scale)
        return loss, grad.addcmul_(grad, target, value=-2)  # lambda / lambda of negatives, -1 of positives

    return fused_loss(cls_score, value, value_and_grad, inputs=inputs)
