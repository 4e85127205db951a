"""Deferred re-weighting (DRW): re-weight for the tail in the last epochs only."""

from typing import Any

from torch import Tensor, nn

from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .reweighted_loss import ReweightedLoss

__all__ = ['DeferredReweighting', 'DeferredStart', 'deferred_beta']


class DeferredStart(UsesProgress):
    """Mixin of losses that re-weight the classes from one epoch on."""

    def init_start(self, start_epoch: int) -> None:
        """Check and keep the first epoch with weights, counted from 0."""
        check(start_epoch=(start_epoch, 'int >= 0'))
        self.start_epoch = start_epoch

    def is_active(self) -> bool:
        return self.epoch >= self.start_epoch

    def too_short(self, max_epochs: int) -> str | None:
        if self.start_epoch >= max_epochs:
            return f'never re-weights: start_epoch={self.start_epoch}, but the training has {max_epochs} epochs.'

    def extra_repr(self) -> str:
        return f'start_epoch={self.start_epoch}, {super().extra_repr()}'


def deferred_beta(kind: str, beta: float | None) -> float | None:
    """Return ``beta``, or the one of LDAM-DRW for ``'effective_number'`` without."""
    return 0.9999 if beta is None and kind == 'effective_number' else beta


@MODELS.register_module()
class DeferredReweighting(DeferredStart, ReweightedLoss):
    """Re-weights a loss for the tail from one epoch on.

    Weights from the start harm the features of frequent classes; after the learning rate has dropped they mainly move
    the classifier. Around a loss of several experts it is built as
    :class:`~ltmm.models.losses.expert.reweighted_expert_loss.DeferredExpertReweighting`.

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``train_rule='DRW'``, in which the effective numbers have beta = 0 (no
        weights) up to epoch 160 and 0.9999 after it. Reproduces [1] to 1e-6 (tests/conformance,
        ``drw_effective_number_weights``).

    Args:
        loss: See :class:`ReweightedLoss`.
        start_epoch: First epoch with weights, counted from 0; 160 of 200 in [1].
        kind: Kind of weights.
        beta: For ``'effective_number'``; 0.9999 by default, as in [1].
        **kwargs: Arguments of :class:`ReweightedLoss`; [1] has ``normalize='weight_sum'``, and ``'batch_size'`` for
            focal loss.
    """

    around_experts = 'ltmm.DeferredExpertReweighting'

    def __init__(
        self,
        *,
        loss: nn.Module | dict,
        start_epoch: int,
        kind: str = 'effective_number',
        beta: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.init_start(start_epoch)
        super().__init__(loss=loss, kind=kind, beta=deferred_beta(kind, beta), **kwargs)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        forward = super().forward if self.is_active() else self.loss
        return forward(cls_score, label, weight=weight, avg_factor=avg_factor, reduction_override=reduction_override)
