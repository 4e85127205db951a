"""What the classification losses share: where the prior comes from, checks, float32 under AMP, reduction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltmm.models.state.class_distribution import UsesClassDistribution

__all__ = ['ClassPriorLoss', 'ClassificationLoss', 'at_least_float32', 'check_at_least_zero', 'reduce_loss']

REDUCTIONS = ('none', 'mean', 'sum')


def at_least_float32(cls_score: Tensor) -> Tensor:
    """Logits in which sigmoids near 1 can be told apart, and sums do not lose their small terms."""
    return cls_score.float() if cls_score.dtype in (torch.float16, torch.bfloat16) else cls_score


def reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean', avg_factor: float | None = None
) -> Tensor:
    """Weigh and reduce element-wise losses.

    Args:
        loss: losses, (N,) or (N, C).
        weight: factors, (N,), or of the shape of ``loss``.
        reduction: ``'none'``, ``'mean'`` (over all elements of a 1-d loss, over the N rows of a 2-d loss) or ``'sum'``.
        avg_factor: what ``'mean'`` divides by instead.

    Raises:
        ValueError: unknown reduction, or ``avg_factor`` with another reduction than ``'mean'``.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'Expected `reduction` to be one of {sorted(REDUCTIONS)}, but got {reduction!r}.')
    if weight is not None:
        loss = loss * (weight if weight.dim() == loss.dim() else weight.unsqueeze(-1))
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError("Expected reduction='mean' with `avg_factor`, but got reduction='sum'.")
        return loss.sum()
    return loss.sum() / max(loss.size(0) if avg_factor is None else avg_factor, 1)


def check_at_least_zero(name: str, value: float) -> None:
    """Refuse a setting that is negative or not finite."""
    if not 0 <= value < float('inf'):
        raise ValueError(f'Expected `{name}` to be at least 0, but got {value}.')


class ClassificationLoss(nn.Module):
    """Base of the losses for (N, C) logits: checks, float32 under AMP, reduction.

    A subclass writes :meth:`unreduced`.

    Args:
        loss_weight: factor of the loss, at least 0.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.

    Raises:
        ValueError: a negative ``loss_weight``, or an unknown reduction.
    """

    accepts_soft_labels = False
    fits = ('cls',)

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        check_at_least_zero('loss_weight', loss_weight)
        if reduction not in REDUCTIONS:
            raise ValueError(f'Expected `reduction` to be one of {sorted(REDUCTIONS)}, but got {reduction!r}.')
        self.loss_weight = loss_weight
        self.reduction = reduction

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """The loss of each sample, (N,), from float32 or float64 logits."""
        raise NotImplementedError(f'{type(self).__name__} must define unreduced(cls_score, label).')

    def reduce(self, loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | None) -> Tensor:
        """See :func:`reduce_loss`."""
        return reduce_loss(loss, weight, reduction, avg_factor)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            cls_score: logits, (N, C).
            label: class indices, (N,), or, where the loss takes them, soft labels, (N, C).
            weight: factor of each sample, (N,).
            avg_factor: what the mean divides by instead of N.
            reduction_override: replaces ``reduction`` in this call.

        Raises:
            RuntimeError: the loss needs the class distribution, and none has arrived.
            ValueError: C of the logits is not that of the distribution, or soft labels are not supported.
        """
        self._check(cls_score, label)
        cls_score = at_least_float32(cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            loss = self.unreduced(cls_score, label)  # (N,)
        return self.loss_weight * self.reduce(loss, weight, reduction_override or self.reduction, avg_factor)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        if cls_score.dim() != 2:
            raise ValueError(
                f'{type(self).__name__}: expected logits of shape (N, C), but got {tuple(cls_score.shape)}.'
            )
        if label.dim() == 2 and not self.accepts_soft_labels:
            raise ValueError(
                f'{type(self).__name__} takes class indices (N,), but got soft labels {tuple(label.shape)}; '
                'leave Mixup, CutMix and label smoothing out of the data preprocessor.'
            )

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'loss_weight={self.loss_weight}, reduction={self.reduction!r}'


class ClassPriorLoss(UsesClassDistribution, ClassificationLoss):
    """Base of the losses for (N, C) logits that depend on the class distribution.

    A subclass writes :meth:`unreduced`, and derives its tensors in :meth:`on_class_distribution`.

    Args:
        loss_weight: factor of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_counts: training images per class, as a list or ``{class name: count}``; taken from the training data
            when left out.
        num_classes: C, where it is to be checked at build.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.init_class_distribution(class_counts, num_classes)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        num_classes = self.get_class_distribution().num_classes
        super()._check(cls_score, label)
        if cls_score.size(1) != num_classes:
            raise ValueError(
                f'{type(self).__name__}: expected logits of shape (N, {num_classes}), the number of classes in the '
                f'training data, but got {tuple(cls_score.shape)}.'
            )
