"""Equalization loss v2: each class gets its positives and negatives in balance."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ltmm.models.fits import HEAD_KINDS
from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS

from ..base import at_least_float32, check_at_least_zero
from .roi_cls_loss import RoIClsLoss
from .sigmoid_ce_loss import sigmoid_cross_entropy

__all__ = ['EQLv2Loss', 'eqlv2_weights', 'gathered_gradients']

FIRST_RATIO = 100.0  # of a class that has not had a gradient yet: weights 1 and 1


def eqlv2_weights(ratio: Tensor, gamma: float, mu: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Weights of the positives and of the negatives of each class, (C,) and (C,).

    Args:
        ratio: gathered gradient of the positives over that of the negatives, (C,).
        gamma: steepness.
        mu: ratio of balance.
        alpha: how much the positives of a starved class are raised.
    """
    negative = torch.sigmoid(gamma * (ratio - mu))
    return 1 + alpha * (1 - negative), negative


def gathered_gradients(
    cls_score: Tensor, label: Tensor, weight: Tensor | None, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums over the rows of the absolute gradients of each column, as the right one and as a wrong one, (K,) and (K,).

    Args:
        cls_score: logits, (N, K).
        label: the column that is right, (N,); K where none is.
        weight: factor of each row, (N,).
        positive: weight of the right column, by column, (K,).
        negative: weight of the other columns, (K,).
    """
    weight = cls_score.new_ones(len(cls_score)) if weight is None else weight.to(cls_score)  # (N,)
    num_columns = cls_score.size(1)
    is_right = label < num_columns
    index = label.clamp(max=num_columns - 1)
    prob = cls_score.sigmoid()  # (N, K)
    of_right = weight * is_right * (-cls_score.gather(1, index.unsqueeze(1))).sigmoid().squeeze(1)  # (N,)
    gathered = cls_score.new_zeros(num_columns).index_add_(0, index, of_right)
    prob.scatter_(1, index.unsqueeze(1), prob.gather(1, index.unsqueeze(1)).masked_fill(is_right.unsqueeze(1), 0))
    return positive * gathered, negative * (weight @ prob)


@MODELS.register_module()
class EQLv2Loss(RoIClsLoss):
    r"""Turns down the negatives of a class, and its positives up, as long as its positives have had less gradient.

    .. math::
        L = \frac{1}{N} \sum_{ij} W_{ij} \, \mathrm{BCE}(z_{ij}, y_{ij}), \qquad
        W_{ij} = y_{ij} (1 + \alpha (1 - u_j)) + (1 - y_{ij}) u_j, \qquad
        u_j = \sigma(\gamma (P_j / Q_j - \mu))

    P_j and Q_j are the absolute gradients, weights included, that class j has had as the right and as a wrong answer,
    summed over all iterations and ranks; they take effect from the next iteration on. Before the first, u_j is 1. In
    box heads, column C is background, with weight 1; scores are sigma(z_j) (1 - sigma(z_C)). In dense and DETR heads
    there is no such column, anchors without weight are not gathered, and the loss is called level by level or layer by
    layer: they are gathered as one. N counts the proposals that have a weight (``avg_factor`` of mmdet's heads); [1]
    divides by all proposals, which is the same unless some have weight 0.

    On several GPUs mmdet's own box heads are refused at the start of training: they do not call the loss on a rank
    without proposals, for which the others would wait. mmdet's ``EQLV2Loss`` is the same formula, but box heads take a
    softmax of its scores.

    [0] Tan et al., Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object Detection, CVPR 2021,
        arXiv 2012.08548.
    [1] github.com/tztztztztz/eqlv2 @907fad9, ``EQLv2``. Equal to [1] on its own numbers (tests/conformance, ``eqlv2``).

    Args:
        gamma: steepness of u, positive; 12 in [0].
        mu: ratio of P and Q at which u is 1/2; 0.8 in [0].
        alpha: how much the positives of a starved class are raised, at least 0; 4 in [0].
        test_with_obj: multiply the scores of a box head by 1 - sigma(z_C).
        **kwargs: loss_weight and reduction of :class:`~ltmm.models.losses.base.ClassificationLoss`.

    Raises:
        ValueError: gamma is not positive, mu is not finite, or alpha is negative.
        RuntimeError: at the first forward, in a head that has not said how many classes there are.
    """

    fits = ('roi', 'ltmm_dense', 'ltmm_detr')
    num_background_columns = 1
    gathers_by_class = True

    def __init__(
        self, gamma: float = 12.0, mu: float = 0.8, alpha: float = 4.0, test_with_obj: bool = True, **kwargs: Any
    ) -> None:
        if not 0 < gamma < float('inf'):
            raise ValueError(f'Expected `gamma` to be positive, but got {gamma}.')
        if not -float('inf') < mu < float('inf'):
            raise ValueError(f'Expected `mu` to be a finite number, but got {mu}.')
        check_at_least_zero('alpha', alpha)
        super().__init__(**kwargs)
        self.gamma, self.mu, self.alpha, self.test_with_obj = gamma, mu, alpha, test_with_obj

    def on_num_classes(self, num_classes: int) -> None:
        """Start from zero for C classes."""
        self.gradients = RunningGradients(num_classes)

    def one_update(self) -> AbstractContextManager:
        """See :class:`RoIClsLoss`."""
        return self.gradients.one_update()

    @property
    def gradient_ratio(self) -> Tensor:
        """P / Q, float64, (C,); 100 where there has been neither."""
        positive, negative = self.gradients.positive, self.gradients.negative
        ratio = positive / (negative + 1e-10)
        return ratio.masked_fill((positive == 0) & (negative == 0), FIRST_RATIO)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Weights of the positives and of the negatives of each column, float64; background has 1 and 1."""
        weights = eqlv2_weights(self.gradient_ratio, self.gamma, self.mu, self.alpha)
        padding = weights[0].new_ones(self.num_columns - len(weights[0]))
        positive, negative = (torch.cat([weight, padding]) for weight in weights)
        return positive, negative

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See :func:`~ltmm.models.losses.detection.sigmoid_ce_loss.sigmoid_cross_entropy`."""
        return sigmoid_cross_entropy(cls_score, label, *self.weights())

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss; while training, the gradients are gathered after it.

        Args:
            cls_score: logits, (N, C + 1) of box heads, (N, C) of dense and DETR heads.
            label: class indices, (N,); C is background.
            weight: factor of each row, (N,).
            avg_factor: what the mean divides by instead of N.
            reduction_override: replaces ``reduction`` in this call.
        """
        loss = super().forward(cls_score, label, weight, avg_factor, reduction_override)
        if self.training:
            self._gather(cls_score, label, weight)
        return loss

    @torch.no_grad()
    def _gather(self, cls_score: Tensor, label: Tensor, weight: Tensor | None) -> None:
        score = at_least_float32(cls_score)
        with torch.autocast(score.device.type, enabled=False):
            weights = (each.to(score) for each in self.weights())
            positive, negative = gathered_gradients(score, label, weight, *weights)
        num_classes = len(self.gradients.positive)
        self.gradients.update(positive[:num_classes], negative[:num_classes])

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """See :class:`RoIClsLoss`; the plain sigmoids without ``test_with_obj``."""
        return super().get_activation(cls_score) if self.test_with_obj else at_least_float32(cls_score).sigmoid()

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        if self.num_columns is None:
            raise RuntimeError(
                'EQLv2Loss does not know how many classes there are: its head has not asked it for the width of the '
                f'classifier. It fits: {"; ".join(HEAD_KINDS[kind] for kind in self.fits)}.'
            )
        super()._check(cls_score, label)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'gamma={self.gamma}, mu={self.mu}, alpha={self.alpha}, test_with_obj={self.test_with_obj}, '
            f'{super().extra_repr()}'
        )
