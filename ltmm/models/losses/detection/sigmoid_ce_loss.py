"""Sigmoid cross entropy of detection heads, the base of ROG and of the equalization losses."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS

from .base import DetectionLoss

__all__ = ['SigmoidCrossEntropyLoss', 'sigmoid_cross_entropy']


def sigmoid_cross_entropy(
    cls_score: Tensor,
    label: Tensor,
    positive: Tensor | None = None,
    negative: Tensor | None = None,
    background: Tensor | None = None,
) -> Tensor:
    """Compute the weighted binary cross entropy, summed over the K columns, (N,).

    Args:
        cls_score: Logits, (N, K).
        label: Positive column of each row, (N,); K or more for none.
        positive: Weight of the positives of each column, (K,). Default: 1.
        negative: Weight of the negatives of each column, (K,). Default: 1.
        background: The same in rows without a positive, (K,). Default: ``negative``.
    """
    num_columns = cls_score.size(1)
    index = label.clamp(max=num_columns).unsqueeze(1)
    target = cls_score.new_zeros(len(label), num_columns + 1).scatter_(1, index, 1)[:, :-1]  # one-hot, (N, K)
    weight = torch.ones_like(target) if negative is None else negative.to(cls_score).expand_as(target)
    if background is not None:
        weight = torch.where((label < num_columns).unsqueeze(1), weight, background.to(cls_score))
    weight = torch.where(target == 1, 1 if positive is None else positive.to(cls_score), weight)
    return F.binary_cross_entropy_with_logits(cls_score, target, weight, reduction='none').sum(1)


@MODELS.register_module()
class SigmoidCrossEntropyLoss(DetectionLoss):
    r"""Binary cross entropy on C + 1 sigmoids, the last for background; treats head and tail classes alike.

    .. math::
        L = \frac{1}{N} \sum_i \sum_{j=0}^{C} \mathrm{BCE}(z_{ij}, [j = y_i]), \qquad
        \mathrm{score}_{ij} = \sigma(z_{ij}) (1 - \sigma(z_{iC}))

    N counts the proposals with a weight.

    [0] Zhang et al., Reconciling Object-Level and Global-Level Objectives for Long-Tail Detection, ICCV 2023.
    [1] github.com/EricZsy/ROG @1dad3cf, ``SigmoidCrossEntropyLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``rog_gap``).

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: See :class:`DetectionLoss`.
    """

    num_background_columns = 1
    prior_prob = None

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return sigmoid_cross_entropy(cls_score, label)
