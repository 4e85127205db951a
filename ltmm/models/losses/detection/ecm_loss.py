"""Effective class-margin loss: margins and weights from the class counts that bound the error of ranking."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .base import ClassPriorDetectionLoss
from .sigmoid_ce_loss import sigmoid_cross_entropy

__all__ = ['ECMLoss', 'ecm_loss', 'ecm_margins_and_weights']


def ecm_margins_and_weights(counts: np.ndarray, background_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the margin and the weight of each class and of background, (C + 1,) and (C + 1,).

    Args:
        counts: Instances per class, (C,); 0 counts as 1.
        background_ratio: Background proposals per object.
    """
    counts = counts.clip(min=1)
    positive = np.append(counts, background_ratio * counts.sum())  # (C + 1,)
    ratio = (positive.sum() - positive) / positive  # negatives per positive
    return -np.log(ratio) / 4, ratio * np.log1p(1 / ratio)


def ecm_loss(cls_score: Tensor, label: Tensor, margin: Tensor, weight: Tensor) -> Tensor:
    """Compute the weighted sigmoid cross entropy of twice the logits plus margins, summed over the columns, (N,).

    Args:
        cls_score: Logits, (N, K).
        label: Class indices, (N,); K or more for none.
        margin: (K,).
        weight: (K,).
    """
    return sigmoid_cross_entropy(2 * cls_score + margin.to(cls_score), label, weight, weight)


@MODELS.register_module()
class ECMLoss(ClassPriorDetectionLoss):
    r"""Gives tail classes larger margins and weights than head classes, from a bound on the error of ranking.

    .. math::
        L = \frac{1}{N} \sum_{ij} w_j \, \mathrm{BCE}(2 z_{ij} + m_j, y_{ij}), \qquad
        m_j = \tfrac{1}{4} \log \frac{n_j^+}{n_j^-}, \qquad
        w_j = a_j \log \frac{1 + a_j}{a_j}, \qquad a_j = \frac{n_j^-}{n_j^+}

    :math:`n_j^+` counts the training instances of class j, background :math:`r \sum_j n_j^+`, and :math:`n_j^-` all
    others, background included; a class without instances counts as one with one. In box heads column C is background,
    and scores are sigma(z_j) (1 - sigma(z_C)), without factor and margin. One-stage and DETR heads have no such column.
    N counts the proposals with a weight (``avg_factor`` of mmdet's heads). Best with cosines: ``mmdet.NormedLinear`` as
    ``cls_predictor_cfg``.

    [0] Cho and Krähenbühl, Long-tail Detection with Effective Class-Margins, ECCV 2022, arXiv 2301.09724.
    [1] github.com/janghyuncho/ECM-Loss @a637240, ``EffectiveClassMarginLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``ecm``).

    Args:
        background_ratio: r, background proposals per object; 6.3313 in [1].
        **kwargs: Arguments of :class:`ClassPriorDetectionLoss`; counts are of instances.
    """

    num_background_columns = 1
    prior_prob = None

    def __init__(self, *, background_ratio: float = 6.3313, **kwargs: Any) -> None:
        check(background_ratio=(background_ratio, '> 0'))
        self.background_ratio = background_ratio
        super().__init__(**kwargs)

    def get_dense_channels(self, num_classes: int) -> int:
        """Return the width of the classifier of a dense or DETR head, whose bias starts at a score of 0.01."""
        self.prior_prob = 0.01
        return super().get_dense_channels(num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        margin, weight = ecm_margins_and_weights(distribution.instance_counts, self.background_ratio)
        self.register_derived('margin', margin)
        self.register_derived('weight', weight)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        num_columns = cls_score.size(1)  # C + 1, or C in dense and DETR heads
        return ecm_loss(cls_score, label, self.margin[:num_columns], self.weight[:num_columns])

    def extra_repr(self) -> str:
        return f'background_ratio={self.background_ratio}, {super().extra_repr()}'
