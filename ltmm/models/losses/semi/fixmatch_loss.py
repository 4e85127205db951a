"""FixMatch, the baseline of semi-supervised learning."""

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import SemiSupervisedLoss, consistency, supervised

__all__ = ['FixMatchLoss']


@MODELS.register_module()
class FixMatchLoss(SemiSupervisedLoss):
    r"""Learns from confident pseudo-labels, which frequent classes dominate: nothing here is done for rare ones.

    .. math::
        \frac{1}{N} \sum_i \mathrm{CE}(z_i, y_i) + \frac{\lambda}{M S} \sum_{j, s}
        \mathbb{1}[\max_c p_j^c \ge \theta] \, \mathrm{CE}(z_j^s, \arg\max_c p_j^c)

    with N labeled and M unlabeled images, :math:`p_j` the probabilities of the weak view, without gradient, and
    :math:`z_j^s` the logits of S strong views.

    References:
        [0] Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
            arXiv 2001.07685.

    Args:
        threshold: :math:`\theta`.
        unlabeled_weight: :math:`\lambda`.
    """

    def __init__(self, *, threshold: float = 0.95, unlabeled_weight: float = 1.0) -> None:
        super().__init__(threshold=threshold)
        check(unlabeled_weight=(unlabeled_weight, '>= 0'))
        self.unlabeled_weight = unlabeled_weight

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        weak, strong = inputs.unlabeled_score[0].detach(), inputs.unlabeled_score[1:]
        confidence, label = weak.softmax(1).max(1)
        mask = confidence >= self.threshold
        return dict(
            loss_labeled=supervised(inputs.cls_score, inputs.label),
            loss_unlabeled=self.unlabeled_weight * consistency(strong, label, mask),
            **self.report(inputs, label, confidence, mask),
        )
