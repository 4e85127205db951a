"""Equalization loss v2: balance the positive and negative gradients of each class."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import at_least_float32
from .base import DenseHeadLoss
from .sigmoid_ce_loss import sigmoid_cross_entropy

__all__ = ['EQLv2Loss', 'eqlv2_weights', 'gathered_gradients']

FIRST_RATIO = 100.0  # of a class without any gradient yet, so that its weights are 1


def eqlv2_weights(ratio: Tensor, gamma: float, mu: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the weights of the positives and of the negatives of each class, (C,) and (C,).

    Args:
        ratio: Accumulated positive gradient over accumulated negative gradient, (C,).
        gamma: Steepness of the mapping.
        mu: Ratio at which the negatives have weight 1/2.
        alpha: Largest increase of the weight of the positives.
    """
    negative = torch.sigmoid(gamma * (ratio - mu))
    return 1 + alpha * (1 - negative), negative


def gathered_gradients(
    cls_score: Tensor, label: Tensor, weight: Tensor | None, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum the absolute positive and negative gradients of each column over the rows, (K,) and (K,).

    Args:
        cls_score: Logits, (N, K).
        label: Positive column of each row, (N,); K for none.
        weight: Weight of each row, (N,).
        positive: Weight of the positives of each column, (K,).
        negative: Weight of the negatives of each column, (K,).
    """
    weight = cls_score.new_ones(len(cls_score)) if weight is None else weight.to(cls_score)  # (N,)
    num_columns = cls_score.size(1)
    is_positive = label < num_columns
    index = label.clamp(max=num_columns - 1)
    prob = cls_score.sigmoid()  # (N, K)
    of_positives = weight * is_positive * (-cls_score.gather(1, index.unsqueeze(1))).sigmoid().squeeze(1)  # (N,)
    gathered = cls_score.new_zeros(num_columns).index_add_(0, index, of_positives)
    prob.scatter_(1, index.unsqueeze(1), prob.gather(1, index.unsqueeze(1)).masked_fill(is_positive.unsqueeze(1), 0))
    return positive * gathered, negative * (weight @ prob)


@MODELS.register_module()
class EQLv2Loss(DenseHeadLoss):
    r"""Weights negatives down and positives up for classes, mostly tail classes, that got little positive gradient.

    .. math::
        L = \frac{1}{N} \sum_{ij} W_{ij} \, \mathrm{BCE}(z_{ij}, y_{ij}), \qquad
        W_{ij} = y_{ij} (1 + \alpha (1 - u_j)) + (1 - y_{ij}) u_j, \qquad
        u_j = \sigma(\gamma (P_j / Q_j - \mu))

    P_j and Q_j are the absolute positive and negative gradients of class j, weights included, summed over all
    iterations and ranks; they act from the next iteration on. Before the first, u_j is 1. In box heads, column C is
    background, with weight 1; scores are sigma(z_j) (1 - sigma(z_C)). Dense and DETR heads have no such column; their
    levels or layers count as one iteration. N counts the proposals with a weight (``avg_factor`` of mmdet's heads);
    [1] divides by all proposals.

    mmdet's ``EQLV2Loss`` has the same formula, but mmdet's box heads take a softmax of its scores.

    [0] Tan et al., Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object Detection, CVPR 2021,
        arXiv 2012.08548.
    [1] github.com/tztztztztz/eqlv2 @907fad9, ``EQLv2``. Reproduces [1] to 1e-6 (tests/conformance, ``eqlv2``).

    Args:
        gamma: Steepness of u; 12 in [0].
        mu: Ratio P / Q at which u is 1/2; 0.8 in [0].
        alpha: Largest increase of the weight of the positives; 4 in [0].
        test_with_obj: Multiply the scores of a box head by 1 - sigma(z_C).
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    num_background_columns = 1
    needs_num_classes = True

    def __init__(
        self, *, gamma: float = 12.0, mu: float = 0.8, alpha: float = 4.0, test_with_obj: bool = True, **kwargs: Any
    ) -> None:
        check(gamma=(gamma, '> 0'), mu=(mu, 'finite'), alpha=(alpha, '>= 0'))
        super().__init__(**kwargs)
        self.gamma, self.mu, self.alpha, self.test_with_obj = gamma, mu, alpha, test_with_obj

    def on_num_classes(self, num_classes: int) -> None:
        self.gradients = RunningGradients(num_classes)

    def one_update(self) -> AbstractContextManager:
        return self.gradients.one_update()

    @property
    def gradient_ratio(self) -> Tensor:
        """P / Q, float64, (C,); 100 where both are 0."""
        positive, negative = self.gradients.positive, self.gradients.negative
        ratio = positive / (negative + 1e-10)
        return ratio.masked_fill((positive == 0) & (negative == 0), FIRST_RATIO)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights of positives and negatives of each column, float64; 1 for background."""
        weights = eqlv2_weights(self.gradient_ratio, self.gamma, self.mu, self.alpha)
        padding = weights[0].new_ones(self.num_columns - len(weights[0]))
        positive, negative = (torch.cat([weight, padding]) for weight in weights)
        return positive, negative

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return sigmoid_cross_entropy(cls_score, label, *self.weights())

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss of logits (N, C + 1) in box heads, (N, C) in others; in training, add up the gradients."""
        loss = super().forward(cls_score, label, weight, avg_factor, reduction_override)
        if self.training:
            self._gather(cls_score, label, weight)
        return loss

    @torch.no_grad()
    def _gather(self, cls_score: Tensor, label: Tensor, weight: Tensor | None) -> None:
        score = at_least_float32(cls_score)
        with torch.autocast(score.device.type, enabled=False):
            weights = (each.to(score) for each in self.weights())
            weight = self.row_weight(score, label, weight)
            positive, negative = gathered_gradients(score, label, weight, *weights)
        num_classes = len(self.gradients.positive)
        self.gradients.update(positive[:num_classes], negative[:num_classes])

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores, plain sigmoids without ``test_with_obj``."""
        return super().get_activation(cls_score) if self.test_with_obj else at_least_float32(cls_score).sigmoid()

    def extra_repr(self) -> str:
        return (
            f'gamma={self.gamma}, mu={self.mu}, alpha={self.alpha}, test_with_obj={self.test_with_obj}, '
            f'{super().extra_repr()}'
        )
