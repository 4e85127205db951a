"""Base classes of multi-label losses: known and unknown labels, one explicit reduction."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import LogitLoss, UsesClassPrior, at_least_float32, reduce_loss
from ..class_weights import ClassWeight

__all__ = ['MultiLabelLoss', 'MultiLabelPriorLoss', 'check_targets', 'reduce_multi_label_loss']

REDUCTIONS = ('batchmean', 'mean', 'none', 'sum')
UNKNOWN_REMEDIES = (
    "Use a loss that supports them, such as dict(type='ltmm.PartialASLLoss', mode='ignore'), or make unknown labels "
    "negative (unknown_as='negative' in ltmm.PartialLabels, unlisted_as='negative' in ltmm.DetectionAsMultiLabel)."
)


def reduce_multi_label_loss(loss: Tensor, reduction: str, avg_factor: float | None = None) -> Tensor:
    """Reduce the losses of all labels.

    Args:
        loss: (N, C).
        reduction: ``'mean'`` over all N C labels, ``'batchmean'``: sum over the classes and mean over the images,
            ``'sum'`` or ``'none'``.
        avg_factor: Divisor of ``'batchmean'``, in place of N; ignored by the others.
    """
    check(reduction=(reduction, REDUCTIONS))
    if reduction == 'batchmean':
        return reduce_loss(loss, None, 'mean', avg_factor)
    return reduce_loss(loss, None, reduction, loss.numel() if reduction == 'mean' else None)


def check_targets(target: Tensor, accepts_unknown: bool, name: str) -> bool:
    """Refuse targets, (N, C), other than 1 (positive), 0 (negative) and -1 (unknown); return whether any is unknown."""
    sign = target.sign()
    if torch.equal(target, sign.clamp(min=0)):
        return False
    if accepts_unknown and torch.equal(target, sign):
        return True
    image, label = (target != (sign if accepts_unknown else sign.clamp(min=0))).nonzero()[0].tolist()
    value = target[image, label].item()
    found = f'image {image} of the batch has {value:g} for class {label}'
    if value == -1:
        raise InputError(f'{name} does not support unknown labels, but {found}. {UNKNOWN_REMEDIES}')
    expected = 'targets 1 (positive), 0 (negative)' + ' or -1 (unknown)' * accepts_unknown
    raise InputError(
        f'{name}: expected {expected}, but {found}. Leave Mixup, CutMix and label smoothing out of the config.'
    )


class MultiLabelLoss(LogitLoss):
    """Base class of losses for images with any number of labels.

    A subclass writes :meth:`unreduced`. If it sets ``accepts_unknown = True``, unknown labels (-1) have loss 0, unless
    it learns from them in :meth:`unreduced_partial`.

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'mean'`` over all N C labels, ``'batchmean'``: sum over the classes and mean over the images,
            ``'sum'``, of all ranks, or ``'none'``. The default of each loss is its authors', which their learning rate
            goes with.
        class_weight: See :class:`~ltmm.models.losses.base.LogitLoss`; here it multiplies the losses of a class, of
            positives and negatives alike.
    """

    accepts_unknown = False

    def __init__(
        self, *, loss_weight: float = 1.0, reduction: str = 'mean', class_weight: ClassWeight | None = None
    ) -> None:
        super().__init__(loss_weight=loss_weight, class_weight=class_weight)
        check(reduction=(reduction, REDUCTIONS))
        self.reduction = reduction

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each label, (N, C).

        Args:
            cls_score: Logits, float32 or float64, (N, C).
            target: 1 positive, 0 negative, in the dtype of the logits, (N, C).
        """
        raise NotImplementedError(f'{type(self).__name__} must define unreduced(cls_score, target).')

    def unreduced_partial(self, cls_score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the loss of each label if some are unknown, (N, C).

        Args:
            cls_score: See :meth:`unreduced`.
            target: 1 positive, 0 negative or unknown, (N, C).
            known: 1 known, 0 unknown, (N, C).
        """
        return self.unreduced(cls_score, target) * known

    def forward(
        self,
        cls_score: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).
            weight: Weight of each image, (N,), or of each label, (N, C).
            avg_factor: Divisor of ``'batchmean'``, in place of N; ignored by other reductions.
            reduction_override: Reduction of this call.
        """
        self._check(cls_score, target)
        cls_score = at_least_float32(cls_score)
        target = target.to(cls_score.dtype)
        with torch.autocast(cls_score.device.type, enabled=False):
            if self._any_unknown(target):
                loss = self.unreduced_partial(cls_score, target.clamp(min=0), 1 + target.clamp(max=0))
            else:
                loss = self.unreduced(cls_score, target)
        return self._weighted_and_reduced(loss, cls_score, target, weight, avg_factor, reduction_override)

    def class_factor(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the factor of the loss of each class, (C,)."""
        return self.class_weighting(cls_score, cls_score.size(1))

    def reduce(self, loss: Tensor, reduction: str, avg_factor: float | None) -> Tensor:
        return reduce_multi_label_loss(loss, reduction, avg_factor)

    def _any_unknown(self, target: Tensor) -> bool:
        if torch.compiler.is_compiling():  # values are not known then
            return self.accepts_unknown
        return check_targets(target, self.accepts_unknown, type(self).__name__)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        if cls_score.shape != label.shape:
            raise InputError(
                f'{type(self).__name__}: expected logits and targets of one shape (N, C), but got '
                f'{tuple(cls_score.shape)} and {tuple(label.shape)}.'
            )


class MultiLabelPriorLoss(UsesClassPrior, MultiLabelLoss):
    """Base class of multi-label losses that depend on the class distribution.

    A subclass writes :meth:`unreduced`, and derives its tensors in :meth:`on_class_distribution`.

    Args:
        loss_weight: Weight of the loss.
        reduction: See :class:`MultiLabelLoss`.
        class_weight: See :class:`MultiLabelLoss`.
        class_counts: Training images per class and their total number, see :meth:`ltmm.ClassDistribution.build`.
            Default: taken from the training data.
        num_classes: C, to check the counts against.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | dict | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(loss_weight=loss_weight, reduction=reduction, class_weight=class_weight)
        self.init_class_distribution(class_counts, num_classes)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        self.check_logits(cls_score)
