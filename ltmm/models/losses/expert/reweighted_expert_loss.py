"""Re-weighting: larger weights for samples of rare classes, around a loss of several experts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

from ..base import divisor, mean_over_ranks
from ..build import build_loss
from ..class_weights import sample_weights, takes_no_class_weight
from ..classification.deferred_reweighting import DeferredStart, deferred_beta
from ..classification.reweighted_loss import ClassReweighting
from ..objective import LossInputs
from .base import ExpertLoss

__all__ = ['DeferredExpertReweighting', 'ReweightedExpertLoss']


@MODELS.register_module()
@takes_no_class_weight('it re-weights the classes itself.')
class ReweightedExpertLoss(ClassReweighting, NeedsWholeBatch, ExpertLoss):
    r"""Multiplies all terms of a loss of several experts by a weight of the class, larger for rarer classes.

    With ``normalize='weight_sum'`` the terms are divided by the mean weight of the whole batch, so that a cross entropy
    is :math:`\sum_i w_{y_i} \ell_i / \sum_i w_{y_i}`; terms that are the mean of a part of it, as TLC's, are divided by
    the same. Soft labels weight the loss of each class.

    Args:
        loss: An :class:`ExpertLoss`, or its config, that does not re-weight the classes itself.
        kind: For this and the other arguments see :class:`ReweightedLoss`.
    """

    def __init__(
        self,
        *,
        loss: nn.Module | dict,
        kind: str,
        beta: float | None = None,
        power: float | None = None,
        normalize: str = 'weight_sum',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
        per_rank: bool = False,
    ) -> None:
        self.init_reweighting(kind, beta, power, normalize, per_rank)
        super().__init__(class_counts=class_counts, num_classes=num_classes)
        self.loss = build_loss(loss)
        if not isinstance(self.loss, ExpertLoss):
            raise InputTypeError(
                f'{type(self).__name__} accepts ExpertLoss, but got {type(self.loss).__name__}. ltmm.PerExpertLoss '
                'makes one of a loss of a single classifier.'
            )
        self.check_weighted_once()
        self.loss.class_weighting = self.current_weights  # the factor of all its terms
        self.num_experts, self.num_views, self.requires = self.loss.num_experts, self.loss.num_views, self.loss.requires
        self.accepts_soft_labels = self.loss.accepts_soft_labels

    def is_active(self) -> bool:
        return True

    def current_weights(self, like: Tensor, num_classes: int | None = None) -> Tensor:
        """Return the weights of this epoch, (C,), as ``ClassWeights`` does."""
        weight = self.class_weight.to(like)
        return weight if self.is_active() else torch.ones_like(weight)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        terms = self.loss(inputs)
        if self.normalize == 'batch_size' or not self.is_active():
            return terms
        weights = sample_weights(inputs.label, self.class_weight.to(inputs.expert_logits))  # (N,)
        total = mean_over_ranks(weights.sum(), self.per_rank)
        scale = torch.where(total > 0, divisor(len(weights), weights) / total, 0)
        return {name: scale * term for name, term in terms.items()}


@MODELS.register_module()
class DeferredExpertReweighting(DeferredStart, ReweightedExpertLoss):
    """Re-weights a loss of several experts for the tail from one epoch on, as :class:`DeferredReweighting` does others.

    Args:
        start_epoch: First epoch with weights, counted from 0.
        kind: Kind of weights.
        beta: For ``'effective_number'``; 0.9999 by default, as in LDAM-DRW.
        **kwargs: Arguments of :class:`ReweightedExpertLoss`.
    """

    def __init__(
        self, *, start_epoch: int, kind: str = 'effective_number', beta: float | None = None, **kwargs: Any
    ) -> None:
        self.init_start(start_epoch)
        super().__init__(kind=kind, beta=deferred_beta(kind, beta), **kwargs)
