"""What the multi-label losses share: three-state targets, checks, float32 under AMP, one explicit reduction."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from ltmm.models.state.class_distribution import UsesClassDistribution

from ..base import LogitLoss, at_least_float32

__all__ = ['MultiLabelLoss', 'MultiLabelPriorLoss', 'check_targets', 'positives_of', 'reduce_multi_label_loss']

REDUCTIONS = ('batchmean', 'mean', 'none', 'sum')
UNKNOWN_REMEDIES = (
    "Take a loss of ltmm that has one (such as dict(type='ltmm.PartialASLLoss', mode='ignore')), or make unknown "
    'labels negative '
    "(unknown_as='negative' in ltmm.PartialLabels, unlisted_as='negative' in ltmm.DetectionAsMultiLabel)."
)


def reduce_multi_label_loss(
    loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | None = None
) -> Tensor:
    """Weigh and reduce the losses of all labels.

    Args:
        loss: (N, C).
        weight: factors, (N,) or (N, C).
        reduction: ``'mean'`` over all N * C labels, ``'batchmean'``: sum over the classes and mean over the images,
            ``'sum'``, or ``'none'``.
        avg_factor: what ``'batchmean'`` divides by instead of N; the others have no use for it.
    """
    if weight is not None:
        loss = loss * (weight if weight.dim() == loss.dim() else weight.unsqueeze(-1))
    return loss if reduction == 'none' else _reduce_total(loss.sum(), loss.shape, reduction, avg_factor)


def _reduce_total(total: Tensor, shape: torch.Size, reduction: str, avg_factor: float | None) -> Tensor:
    """The same of the sum of losses of this shape."""
    if reduction == 'sum':
        return total
    divisor = shape.numel() if reduction == 'mean' else shape[0] if avg_factor is None else avg_factor
    return total / max(divisor, 1)


def check_targets(target: Tensor, accepts_unknown: bool, name: str) -> None:
    """Refuse targets that are neither 1 (positive), 0 (negative) nor -1 (unknown); one device synchronisation.

    Args:
        target: (N, C).
        accepts_unknown: let -1 pass.
        name: of the loss, for the message.

    Raises:
        ValueError: names the value; or an unknown label in a loss that has no meaning for one.
    """
    if _are_labels(target, accepts_unknown):
        return
    num_classes, target = target.size(1), target.flatten()
    wrong = (target != 0) & (target != 1)
    if accepts_unknown:
        wrong &= target != -1
    position = wrong.nonzero()[0].item()
    i, c = divmod(position, num_classes)
    value = target[position].item()
    if value == -1:
        raise ValueError(
            f'{name} has no meaning for unknown labels, but image {i} of the batch has one (-1) for class {c}. '
            f'{UNKNOWN_REMEDIES}'
        )
    raise ValueError(
        f'{name}: expected targets 1 (positive), 0 (negative)' + (' or -1 (unknown)' if accepts_unknown else '') + ', '
        f'but image {i} of the batch has {value:g} for class {c}. Leave Mixup, CutMix and label smoothing out of the '
        'data preprocessor.'
    )


def _are_labels(target: Tensor, with_unknown: bool) -> bool:
    """Whether all are 1 or 0, or also -1 ``with_unknown``; comparing takes several times as long."""
    target = target.flatten() if target.dtype.is_floating_point else target.flatten().float()
    rest = target.pow(3 if with_unknown else 2).sub_(target)
    return torch.dot(rest, rest).item() == 0


def positives_of(target: Tensor) -> Tensor:
    """Where the positive labels are in the flattened targets, rising, (P,).

    Args:
        target: 1 positive, 0 negative, -1 unknown, (N, C).
    """
    is_positive = target.flatten().to(torch.int8).clamp_(min=0).bool()
    if is_positive.is_cpu:  # a few times faster than PyTorch's
        return torch.from_numpy(np.flatnonzero(is_positive.numpy()))
    return is_positive.nonzero().squeeze(1)


class MultiLabelLoss(LogitLoss):
    """Base of the losses for (N, C) logits with any number of positive classes an image.

    A subclass writes :meth:`unreduced`, up to a constant factor ``scale``. It says ``accepts_unknown = True`` where -1
    has a meaning for it, and ``leaves_unknown_out = True`` beside it where that meaning is a loss of 0: then
    :meth:`unreduced` never sees a -1. With ``gives_total = True`` it has an argument ``total``, which asks for the sum
    over all labels alone.

    Args:
        loss_weight: factor of the loss, at least 0.
        reduction: ``'mean'`` over all N * C labels, ``'batchmean'``: sum over the classes and mean over the images,
            ``'sum'``, or ``'none'``. Each loss has that of its authors; a learning rate belongs to one of them.

    Raises:
        ValueError: a negative ``loss_weight``, or an unknown reduction.
    """

    accepts_unknown = False
    leaves_unknown_out = False
    gives_total = False
    scale = 1.0

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__(loss_weight)
        if reduction not in REDUCTIONS:
            raise ValueError(f'Expected `reduction` to be one of {list(REDUCTIONS)}, but got {reduction!r}.')
        self.reduction = reduction

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        """The loss of each label without ``scale``, (N, C), from float32 or float64 logits and targets alike."""
        raise NotImplementedError(f'{type(self).__name__} must define unreduced(cls_score, target).')

    def forward(
        self,
        cls_score: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            cls_score: logits, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).
            weight: factor of each image, (N,), or of each label, (N, C).
            avg_factor: what ``'batchmean'`` divides by instead of N; it changes no other reduction.
            reduction_override: replaces ``reduction`` in this call.

        Raises:
            RuntimeError: the loss needs the class distribution, and none has arrived.
            ValueError: shapes that differ, another number of classes than in the distribution, targets of another
                value, unknown labels where they have no meaning, or an unknown reduction.
        """
        reduction = reduction_override or self.reduction
        if reduction not in REDUCTIONS:
            raise ValueError(f'Expected `reduction` to be one of {list(REDUCTIONS)}, but got {reduction!r}.')
        cls_score = at_least_float32(cls_score)
        target = target.to(cls_score.dtype)
        self._check_shapes(cls_score, target)
        leaves_out = self.leaves_unknown_out and not _are_labels(target, with_unknown=False)
        if leaves_out or not self.leaves_unknown_out:
            check_targets(target, self.accepts_unknown, type(self).__name__)
        device = cls_score.device.type
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            if self.gives_total and weight is None and reduction != 'none' and not leaves_out:
                loss = _reduce_total(self.unreduced(cls_score, target, True), target.shape, reduction, avg_factor)
            else:
                loss = self.unreduced(cls_score, target.clamp(min=0) if leaves_out else target)  # (N, C)
                loss = loss * (target + 1).clamp_(max=1) if leaves_out else loss
                loss = reduce_multi_label_loss(loss, weight, reduction, avg_factor)
        return self.loss_weight * self.scale * loss

    def _check_shapes(self, cls_score: Tensor, target: Tensor) -> None:
        name = type(self).__name__
        if cls_score.dim() != 2 or cls_score.shape != target.shape:
            raise ValueError(
                f'{name}: expected logits and targets of one shape (N, C), but got {tuple(cls_score.shape)} and '
                f'{tuple(target.shape)}.'
            )

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'loss_weight={self.loss_weight}, reduction={self.reduction!r}'


class MultiLabelPriorLoss(UsesClassDistribution, MultiLabelLoss):
    """Base of the multi-label losses that depend on the class distribution.

    A subclass writes :meth:`unreduced`, and derives its tensors in :meth:`on_class_distribution`. Where some settings
    of it do without a distribution, ``needs_distribution`` says so.

    Args:
        loss_weight: factor of the loss.
        reduction: see :class:`MultiLabelLoss`.
        class_counts: training images per class and their number, as :meth:`ltmm.ClassDistribution.build` takes them;
            taken from the training data when left out.
        num_classes: C, where it is to be checked at build.
    """

    needs_distribution = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        class_counts: Sequence[int] | dict | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.init_class_distribution(class_counts, num_classes)

    def _check_shapes(self, cls_score: Tensor, target: Tensor) -> None:
        if self.needs_distribution:
            self.get_class_distribution()
        distribution = self.class_distribution.get()
        if distribution is not None and cls_score.dim() == 2 and cls_score.size(1) != distribution.num_classes:
            raise ValueError(
                f'{type(self).__name__}: expected logits of shape (N, {distribution.num_classes}), the number of '
                f'classes in the training data, but got {tuple(cls_score.shape)}.'
            )
        super()._check_shapes(cls_score, target)
