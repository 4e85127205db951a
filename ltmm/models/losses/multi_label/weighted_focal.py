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
    offset: Tensor | None = None,
    neg_scale: float = 1.0,
    weight: Callable[..., Tensor] | None = None,
    total: bool = False,
) -> Tensor:
    r"""Focal loss of each label, (N, C): :math:`\lambda w f(z + b)`, of negatives :math:`w f(-\lambda (z + b))`.

    :math:`f(x) = (1 - \sigma(x))^\gamma (-\log \sigma(x))`.

    Args:
        cls_score: logits z, (N, C).
        inputs: targets, 1 positive and 0 negative, (N, C), and what else ``weight`` depends on, of N rows each.
        gamma: strength; 0 is binary cross entropy.
        offset: b, (C,); None for 0.
        neg_scale: lambda.
        weight: from ``inputs`` to w, without gradient, (N, C), (N, 1) or (1, C); None for 1.
        total: see :func:`~ltmm.models.losses.fused.fused_loss`.
    """
    shift = None if offset is None else neg_scale * offset

    def wrong_logit(cls_score: Tensor, target: Tensor) -> Tensor:
        """-(z + b) of positives, lambda (z + b) of negatives."""
        if shift is not None:
            cls_score = torch.add(shift, cls_score, alpha=neg_scale)
        elif neg_scale != 1:
            cls_score = neg_scale * cls_score
        return torch.addcmul(cls_score, cls_score, target, value=-1 - 1 / neg_scale)

    def value(cls_score: Tensor, *inputs: Tensor) -> Tensor:
        loss = focal_of_wrong_logit(wrong_logit(cls_score, inputs[0]), gamma)
        if neg_scale != 1:
            loss = loss * (inputs[0] * (neg_scale - 1) + 1)
        return loss if weight is None else loss * weight(*inputs)

    def value_and_grad(cls_score: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        target = inputs[0]
        loss, grad = focal_of_wrong_logit_with_grad(wrong_logit(cls_score, target), gamma, weight and weight(*inputs))
        if neg_scale != 1:
            loss.addcmul_(loss, target, value=neg_scale - 1)
        return loss, grad.addcmul_(grad, target, value=-2)  # lambda of negatives, -lambda of positives

    return fused_loss(cls_score, value, value_and_grad, neg_scale, inputs, total=total)
