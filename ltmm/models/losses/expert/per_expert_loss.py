"""A loss of a single classifier, applied to each expert."""

from typing import Any

from torch import Tensor, nn

from ltmm.registry import MODELS

from ..base import LogitLoss, check_inner_loss, divisor
from ..build import build_loss
from ..class_weights import sample_weights, weighted_label
from ..objective import LossInputs
from .base import ExpertLoss

__all__ = ['PerExpertLoss']


@MODELS.register_module()
class PerExpertLoss(ExpertLoss):
    r"""Applies a loss of a single classifier to each expert and adds them up: the experts differ by their start only.

    .. math:: \sum_e \ell(z_e, y)

    LDAM-DRW for several experts is ``dict(type='ltmm.DeferredReweighting', loss=dict(type='ltmm.PerExpertLoss',
    loss=dict(type='ltmm.LDAMLoss')), ...)``, with ``classifier=dict(type='ltmm.NormedLinear')``; for class indices,
    ``ltmm.DeferredReweighting`` inside of ``PerExpertLoss`` gives the same. With ``ltmm.BalancedSoftmaxLoss`` it is the
    second stage of SHIKE.

    Args:
        loss: A loss of ltmm or mmpretrain, such as ``ltmm.LDAMLoss``, that takes a weight per sample,
            ``nn.CrossEntropyLoss``, or a config.
        **kwargs: Arguments of :class:`ExpertLoss`; ``class_counts`` are those of its ``class_weight``, not of ``loss``.
    """

    uses_prior = False
    accepts_soft_labels = True  # if the loss inside does

    def __init__(self, *, loss: nn.Module | dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loss = build_loss(loss)
        check_inner_loss(self.loss, 'PerExpertLoss')

    @property
    def balances_classes(self) -> bool:
        inner = isinstance(self.loss, LogitLoss) and self.loss.balances_classes
        return inner or self.class_weighting is not None

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label, weight = inputs.expert_logits, inputs.label, None
        class_weight = self.class_factor(logits)
        if class_weight is not None:
            weight = sample_weights(label, class_weight)
            label = label if label.dim() == 1 else weighted_label(label, class_weight)
        # losses of ltmm average over the ranks themselves
        avg_factor = None if isinstance(self.loss, LogitLoss) else divisor(len(label), logits)
        return {
            f'loss_expert{e}': self.loss(logit, label, weight=weight, avg_factor=avg_factor)
            for e, logit in enumerate(logits)
        }
