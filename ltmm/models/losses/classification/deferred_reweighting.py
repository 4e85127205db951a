"""Deferred re-weighting (DRW): learn features from the data as they are, then let the tail count for more."""

import logging
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from ltmm.models.state.progress import UsesEpoch
from ltmm.registry import MODELS

from .reweighted_loss import ReweightedLoss

__all__ = ['DeferredReweighting']


@MODELS.register_module()
class DeferredReweighting(UsesEpoch, ReweightedLoss):
    """Is the loss itself at first, and the loss re-weighted for the tail from one epoch on.

    Weights from the start harm the features of the head; from the epoch at which the learning rate drops they mainly
    move the classifier. ``ltmm.EpochHook`` brings the epoch, so that a resumed run is where it was.

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``train_rule='DRW'``, in which the effective numbers have beta = 0 (no
        weights) up to epoch 160 and 0.9999 after it. Equal to [1] on its own numbers (tests/conformance,
        ``drw_effective_number_weights``).

    Args:
        loss: any loss of ltmm or mmpretrain that takes a weight for each sample.
        start_epoch: first epoch with weights, counted from 0; 160 of 200 in [1].
        kind: see :class:`ReweightedLoss`, as the rest.
        beta: 0.9999 in [1].
        power: see :class:`ReweightedLoss`.
        normalize: ``'weight_sum'`` in [1], but ``'batch_size'`` where the loss is focal.
        class_counts: see :class:`ReweightedLoss`.
        num_classes: see :class:`ReweightedLoss`.

    Raises:
        ValueError: ``start_epoch`` is negative, or what :class:`ReweightedLoss` raises.
        RuntimeError: at a forward before the epoch is known; the message names the hook.
    """

    def __init__(self, loss: dict, start_epoch: int, kind: str, **kwargs: Any) -> None:
        if isinstance(start_epoch, bool) or not isinstance(start_epoch, int) or start_epoch < 0:
            raise ValueError(f'Expected `start_epoch` to be a whole number of at least 0, but got {start_epoch!r}.')
        super().__init__(loss, kind, **kwargs)
        self.start_epoch = start_epoch

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """See :class:`UsesEpoch`; warns in the first epoch where the training ends before the weights come."""
        super().set_epoch(epoch, max_epochs)
        if epoch == 0 and self.start_epoch >= max_epochs:
            print_log(
                f'DeferredReweighting: the weights start with epoch {self.start_epoch}, counted from 0, and the '
                f'training has {max_epochs}: they never will.',
                logger='current',
                level=logging.WARNING,
            )

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """See :class:`ReweightedLoss`."""
        forward = self.loss if self.epoch < self.start_epoch else super().forward
        return forward(cls_score, label, weight=weight, avg_factor=avg_factor, reduction_override=reduction_override)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'start_epoch={self.start_epoch}, {super().extra_repr()}'
