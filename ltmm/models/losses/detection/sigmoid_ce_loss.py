"""Sigmoid cross entropy of detection heads, the base of ROG and of the equalization losses."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS

from ..functional import fused_loss
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
    ones = cls_score.new_ones(num_columns)
    positive, negative = (ones if weight is None else weight.to(cls_score) for weight in (positive, negative))
    index = label.clamp(max=num_columns - 1).unsqueeze(1)  # (N, 1)
    is_right = (label < num_columns).unsqueeze(1)  # (N, 1), False where `index` is of a wrong column
    weight_of_right = positive[index]  # (N, 1)
    if background is None:
        wrong_weight = negative  # (K,)
    else:
        wrong_weight = torch.stack([background.to(cls_score), negative])[is_right.squeeze(1).long()]  # (N, K)

    def value(cls_score: Tensor) -> Tensor:
        score = cls_score.gather(1, index)  # (N, 1)
        cost = F.softplus(cls_score.scatter(1, index, torch.where(is_right, -score, score)))  # (N, K)
        weight = wrong_weight.expand_as(cost)
        weight = weight.scatter(1, index, torch.where(is_right, weight_of_right, weight.gather(1, index)))
        return (cost * weight).sum(1)

    def value_and_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        score = cls_score.gather(1, index)  # (N, 1)
        cost, grad = F.softplus(cls_score), cls_score.sigmoid().mul_(wrong_weight)  # (N, K), as if all were wrong
        cost.scatter_(1, index, cost.gather(1, index).masked_fill(is_right, 0))
        loss = cost @ wrong_weight if background is None else (cost.mul_(wrong_weight)).sum(1)
        loss += (is_right * weight_of_right * F.softplus(-score)).squeeze(1)
        grad_of_right = -weight_of_right * (-score).sigmoid()
        return loss, grad.scatter_(1, index, torch.where(is_right, grad_of_right, grad.gather(1, index)))

    return fused_loss(cls_score, value, value_and_grad)


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
    """

    num_background_columns = 1
    prior_prob = None

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return sigmoid_cross_entropy(cls_score, label)
