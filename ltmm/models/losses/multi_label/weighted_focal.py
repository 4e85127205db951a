"""The formula that focal loss and what re-weights or shifts it have in common."""

import torch
from torch import Tensor

from ..classification.sigmoid_focal_loss import focal_of_wrong_logit, focal_of_wrong_logit_with_grad
from ..functional import fused_loss

__all__ = ['weighted_focal']


def weighted_focal(
    cls_score: Tensor,
    target: Tensor,
    gamma: float,
    offset: Tensor | None = None,
    neg_scale: float = 1.0,
    weight: Tensor | None = None,
    total: bool = False,
) -> Tensor:
    r"""Focal loss of each label, (N, C): :math:`\lambda w f(z + b)`, of negatives :math:`w f(-\lambda (z + b))`.

    :math:`f(x) = (1 - \sigma(x))^\gamma (-\log \sigma(x))`.

    Args:
        cls_score: logits z, (N, C).
        target: 1 positive, 0 negative, (N, C).
        gamma: strength; 0 is binary cross entropy.
        offset: b, (C,); None for 0.
        neg_scale: lambda.
        weight: w, (N, C), (N, 1) or (1, C); None for 1.
        total: see :func:`~ltmm.models.losses.functional.fused_loss`.
    """
    shift = None if offset is None else neg_scale * offset

    def wrong_logit(cls_score: Tensor) -> Tensor:
        """-(z + b) of positives, lambda (z + b) of negatives."""
        if shift is None and neg_scale == 1:
            return torch.addcmul(cls_score, cls_score, target, value=-2)
        wrong = neg_scale * cls_score if shift is None else torch.add(shift, cls_score, alpha=neg_scale)
        return wrong.addcmul_(wrong, target, value=-1 - 1 / neg_scale)

    def value(cls_score: Tensor) -> Tensor:
        loss = focal_of_wrong_logit(wrong_logit(cls_score), gamma)
        if neg_scale != 1:
            loss = loss * (target * (neg_scale - 1) + 1)
        return loss if weight is None else loss * weight

    def value_and_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        loss, grad = focal_of_wrong_logit_with_grad(wrong_logit(cls_score), gamma, weight)
        if neg_scale != 1:
            loss.addcmul_(loss, target, value=neg_scale - 1)
        return loss, grad.addcmul_(grad, target, value=-2)  # lambda of negatives, -lambda of positives

    return fused_loss(cls_score, value, value_and_grad, neg_scale, total=total)
