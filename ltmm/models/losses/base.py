"""Base classes of losses that are functions of logits and labels, and how the ranks share a loss.

Several ranks learn as one process would from all their batches. DDP averages the gradients of the ranks, so a sum is
multiplied by the number of ranks, and a mean divides by the average number of rows per rank (:func:`divisor`). Any
other function of sums or means takes them from :func:`mean_over_ranks`. Every rank has to call a loss equally often.
With one process, these functions do nothing.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.autograd import Function

from ltmm.models.state.base import NeedsWholeBatch, gather_with_own
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .class_weights import ClassWeight, ClassWeights, sample_weights, weighted_label

__all__ = [
    'ClassPriorLoss',
    'ClassificationLoss',
    'CosineLoss',
    'InnerLoss',
    'LogitLoss',
    'UsesClassPrior',
    'at_least_float32',
    'check_inner_loss',
    'check_soft_labels',
    'cosine_scale',
    'divisor',
    'gather_features',
    'mean_over_ranks',
    'reduce_loss',
    'weighted_loss',
    'weighted_mean',
]

REDUCTIONS = ('none', 'mean', 'sum')


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast float16 and bfloat16 to float32; leave everything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def mean_over_ranks(value: Tensor, per_rank: bool = False) -> Tensor:
    """Average a tensor over the ranks; its gradient, which DDP averages, stays that of the own rank.

    Args:
        value: A floating-point tensor of the same shape on all ranks.
        per_rank: Leave it as it is.
    """
    if per_rank or get_world_size() == 1:
        return value
    mean = value.detach().clone()
    all_reduce(mean, op='mean')
    return value + (mean - value.detach()) if value.requires_grad else mean


def divisor(num: float | Tensor, like: Tensor) -> float | Tensor:
    """Return what to divide a sum over the own rows by, for the mean over the rows of all ranks; of them at least 1.

    Args:
        num: Number of own rows, or their total weight.
        like: A tensor of the dtype and the device of the sum.
    """
    if get_world_size() == 1:
        return num.clamp(min=1) if isinstance(num, Tensor) else max(num, 1)
    num = num.detach().to(like) if isinstance(num, Tensor) else like.new_full((), num)
    return mean_over_ranks(num).clamp(min=1 / get_world_size())


class _GatherFeatures(Function):
    """Autograd function of :func:`gather_features`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (features, label), own = gather_with_own(features, label)
        ctx.own = own
        own_rows = torch.arange(own.start, own.stop, device=label.device)
        ctx.mark_non_differentiable(label, own_rows)
        return features, label, own_rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, None]:
        grad = grad.clone()
        all_reduce(grad)
        return grad[ctx.own], None


def gather_features(features: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features and labels of all ranks, (M, D) and (M,), and which rows are the own ones, (N,).

    Features get the gradients of the losses of all ranks.

    Args:
        features: (N, D); N may differ between ranks.
        label: (N,).
    """
    if get_world_size() == 1:
        return features, label, torch.arange(len(label), device=label.device)
    return _GatherFeatures.apply(features, label)


def weighted_loss(loss: Tensor, weight: Tensor | None) -> Tensor:
    """Multiply element-wise losses by a weight.

    Args:
        loss: (N,) or (N, C).
        weight: Factor of each element, (N,) or of the shape of ``loss``.
    """
    if weight is None:
        return loss
    return loss * (weight if weight.dim() == loss.dim() else weight.unsqueeze(-1))


def reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean', avg_factor: float | None = None
) -> Tensor:
    """Weight and reduce element-wise losses, over the rows of all ranks.

    Args:
        loss: (N,) or (N, C).
        weight: See :func:`weighted_loss`.
        reduction: ``'none'``, ``'sum'``, or ``'mean'``: the sum divided by N.
        avg_factor: Divisor of the mean, in place of N.
    """
    check(reduction=(reduction, REDUCTIONS))
    loss = weighted_loss(loss, weight)
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise InputError("Expected reduction='mean' with `avg_factor`, but got reduction='sum'.")
        return loss.sum() if get_world_size() == 1 else get_world_size() * loss.sum()
    return loss.sum() / divisor(loss.size(0) if avg_factor is None else avg_factor, loss)


def weighted_mean(loss: nn.Module, cls_score: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    r"""Compute :math:`\frac{1}{N} \sum_i w_i \ell_i`, over the rows of all ranks.

    In some losses the argument ``weight`` does more: it is inside the modulation of ``ltmm.SoftmaxFocalLoss``, and in
    the norm of ``ltmm.ReweightedLoss``, whose plain weights enter here.

    Args:
        loss: A loss of logits and labels with ``reduction_override='none'``.
        cls_score: Logits, (N, C).
        label: Class indices, (N,), or soft labels, (N, C).
        weight: w, (N,).
    """
    return reduce_loss(loss(cls_score, label, reduction_override='none'), weight)


class LogitLoss(NeedsWholeBatch, nn.Module):
    r"""Base class of all losses that need only logits and labels: weighting, reduction, float32 under AMP.

    A subclass writes :meth:`unreduced`. What kind of labels a loss takes is told by its base class:
    :class:`ClassificationLoss` (one label per image), ``MultiLabelLoss`` or ``DetectionLoss``.

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: Weight of each class. None: 1. ``'auto'``: inverse to the number of training samples, with mean 1
            over the classes that have any, and 0 for the others. A list: in label order, (C,). ``{class name:
            weight}``: 1 for the classes left out. The loss of a sample is multiplied by the weight of its class, in
            soft labels t class by class, :math:`\sum_c t_c w_c \ell_c`; the mean still divides by the number of
            samples. Both as in mmpretrain.

    Attributes:
        balances_classes: Whether a trained model needs no correction of the class prior.
        reweights: Whether the loss re-weights the classes itself, so that ``ltmm.ReweightedLoss`` must not.
        background_hint: Sentence for one weight or count too many, in box heads.
    """

    balances_classes = False
    reweights = False
    background_hint = ''

    def __init__(
        self, *, loss_weight: float = 1.0, reduction: str = 'mean', class_weight: ClassWeight | None = None
    ) -> None:
        super().__init__()
        check(loss_weight=(loss_weight, '>= 0'), reduction=(reduction, REDUCTIONS))
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.class_weighting: ClassWeights | None = None
        if class_weight is not None:
            self.class_weighting = ClassWeights(class_weight, type(self).__name__, self.background_hint)
            self.balances_classes = True

    @property
    def needs_whole_batch(self) -> bool:
        return self.reduction == 'sum'  # of pieces, MMEngine averages the gradients

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the loss of each sample, (N,), from float32 or float64 logits."""
        raise NotImplementedError(f'{type(self).__name__} must define unreduced(cls_score, label).')

    def weighted(self, loss: Tensor, weight: Tensor | None) -> Tensor:
        """Multiply the loss by the weight of each sample, see :func:`weighted_loss`."""
        return weighted_loss(loss, weight)

    def class_factor(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the factor of the loss that ``class_weight`` gives to each sample, (N,)."""
        return sample_weights(label, self.class_weighting(cls_score, cls_score.size(1)))

    def class_label(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the label that ``class_weight`` makes of a soft one, see :func:`weighted_label`."""
        if self.class_weighting is None or label.dim() == 1:
            return label
        return weighted_label(label, self.class_weighting(cls_score, cls_score.size(1)))

    def reduce(self, loss: Tensor, reduction: str, avg_factor: float | None) -> Tensor:
        """Reduce the weighted loss, see :func:`reduce_loss`."""
        return reduce_loss(loss, None, reduction, avg_factor)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits, (N, C).
            label: Class indices, (N,), or soft labels, (N, C), where the loss supports them.
            weight: Weight of each sample, (N,).
            avg_factor: Divisor of the mean, in place of N.
            reduction_override: Reduction of this call.
        """
        self._check(cls_score, label)
        cls_score = at_least_float32(cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            loss = self.unreduced(cls_score, self.class_label(cls_score, label))  # (N,)
        if loss.shape[:1] != cls_score.shape[:1]:
            raise InputError(
                f'{type(self).__name__}.unreduced: expected one loss per row, for {len(cls_score)} rows, but '
                f"got shape {tuple(loss.shape)}: use reduction='none' in it."
            )
        return self._weighted_and_reduced(loss, cls_score, label, weight, avg_factor, reduction_override)

    def _weighted_and_reduced(
        self,
        loss: Tensor,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None,
        avg_factor: float | None,
        reduction_override: str | None,
    ) -> Tensor:
        loss = self.weighted(loss, weight)
        if self.class_weighting is not None:
            loss = loss * self.class_factor(cls_score, label)
        return self.loss_weight * self.reduce(loss, reduction_override or self.reduction, avg_factor)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        if cls_score.dim() != 2:
            raise InputError(f'{type(self).__name__}: expected logits (N, C), but got {tuple(cls_score.shape)}.')

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, reduction={self.reduction!r}'


class ClassificationLoss(LogitLoss):
    """Base class of losses for images with one label."""

    accepts_soft_labels = False

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        check_soft_labels(self, label)


def check_soft_labels(loss: nn.Module, label: Tensor) -> None:
    """Refuse soft labels, (N, C), unless the loss supports them."""
    if label.dim() == 2 and not loss.accepts_soft_labels:
        raise InputError(
            f'{type(loss).__name__} takes class indices (N,), but got soft labels {tuple(label.shape)}: '
            'leave Mixup, CutMix and label smoothing out of the config.'
        )


def check_inner_loss(loss: nn.Module, name: str) -> None:
    """Refuse a loss inside another one that is no function of logits, labels and a weight per sample.

    Args:
        loss: A loss of any package.
        name: Class of the loss around it.
    """
    if isinstance(loss, LogitLoss) and not isinstance(loss, ClassificationLoss):
        raise InputTypeError(f'{name} accepts ClassificationLoss, but got {type(loss).__name__}.')
    if 'weight' not in inspect.signature(loss.forward).parameters:
        raise InputTypeError(f'{name} needs a loss with a `weight` per sample, but got {type(loss).__name__}.')


class UsesClassPrior(UsesClassDistribution):
    """Mixin of losses that depend on the class distribution; ``class_weight='auto'`` follows their ``class_counts``."""

    def init_class_distribution(
        self, class_counts: Sequence[int] | dict | str | None = None, num_classes: int | None = None
    ) -> None:
        super().init_class_distribution(class_counts, num_classes)
        if self.class_weighting is not None:
            self.class_weighting.init_class_distribution(class_counts, num_classes)


class ClassPriorLoss(UsesClassPrior, ClassificationLoss):
    """Base class of classification losses that depend on the class distribution.

    A subclass writes :meth:`unreduced`, and derives its tensors in :meth:`on_class_distribution`.

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: See :class:`LogitLoss`.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data.
        num_classes: C, to check the counts against.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(loss_weight=loss_weight, reduction=reduction, class_weight=class_weight)
        self.init_class_distribution(class_counts, num_classes)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        self.check_logits(cls_score)


class CosineLoss:
    """Mixin of losses that take cosines as logits; the head needs a :class:`~ltmm.models.layers.CosineLayer`.

    Attributes:
        scale: Factor of the cosines.
        scaled_by_layer: Whether the layer multiplies by ``scale`` (RIDE) or the loss does (LDAM).
    """

    scale: float
    scaled_by_layer = False


def cosine_scale(loss: nn.Module) -> float:
    """Return the factor by which a loss multiplies the cosines of its head; 1 for all but losses of plain cosines."""
    parts = (part for part in loss.modules() if isinstance(part, CosineLoss) and not part.scaled_by_layer)
    return next((part.scale for part in parts), 1.0)


class InnerLoss(nn.Module):
    """Base class of losses that only another part of ltmm calls, never a head by its ``loss=``."""
