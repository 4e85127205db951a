"""Base classes of the classification losses of detection heads."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor, nn

from ltmm.utils.checks import check
from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError

from ..base import LogitLoss, UsesClassPrior, at_least_float32, divisor
from ..build import build_loss
from ..class_weights import ClassWeight
from ..objective import LossInputs, Objective

__all__ = [
    'BoxHeadInterface',
    'BoxHeadLoss',
    'BoxHeadObjective',
    'ClassPriorDetectionLoss',
    'DenseHeadLoss',
    'DetectionLoss',
    'build_detection_loss',
    'check_num_classes',
    'foreground_accuracy',
    'missing_num_classes_error',
]


def foreground_accuracy(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Compute the accuracy among the objects, in percent; 0 without any.

    Args:
        scores: Scores or logits of the classes, (N, C).
        labels: Class indices, (N,); C is background.
    """
    foreground = labels < scores.size(1)
    return dict(acc_classes=100 * (scores.argmax(1) == labels).sum() / foreground.sum().clamp(min=1))


def missing_num_classes_error(name: str) -> MissingInputError:
    """Return the error of a loss, by class name, that no head has told its number of classes."""
    return MissingInputError(f'{name} does not know the number of classes: call get_cls_channels(C) first.')


def check_num_classes(name: str, num_classes: int, own: int | None) -> None:
    """Raise an error if the loss ``name`` was told another number of classes than that of its head."""
    if own not in (None, num_classes):
        raise InputError(
            f'{name} has num_classes={own}, but its head has {num_classes}. Leave num_classes out of the loss.'
        )


class BoxHeadInterface:
    """Interface of losses and objectives that tell a box head the width of its classifier, the scores and the accuracy.

    mmdet's box heads ask for these three if it has the ``custom_*`` flags. ltmm's box heads also start the bias
    of the classifier from ``prior_prob``.

    Attributes:
        prior_prob: Initial score of every class, as most targets are 0; None leaves the bias as mmdet has it.
        use_sigmoid: Whether the scores of the classes are one sigmoid each, or one softmax; None for other scores.
    """

    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True
    prior_prob: float | None = None
    use_sigmoid: bool | None = None

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of the classifier."""
        raise NotImplementedError

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return scores (N, C + 1) of logits (N, width); the last is background."""
        raise NotImplementedError

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the accuracy among the objects, see :func:`foreground_accuracy`."""
        return foreground_accuracy(self.get_activation(cls_score)[:, :-1], labels)


class BoxHeadLoss(BoxHeadInterface, nn.Module):
    """Base class of every loss of a box head that is a function of logits and labels, see :class:`BoxHeadInterface`."""


class BoxHeadObjective(BoxHeadInterface, Objective):
    """Base class of objectives of box heads that add rows to those of the proposals, the same rows on all ranks.

    The rows go through the classifier of the head. Every class has a column, and background the last one.

    Args:
        feat_dim: Width of the embedding.
        loss_weight: Weight of the loss.
    """

    requires = ('cls_score', 'features', 'classifier', 'weight', 'avg_factor')
    zero_without_rows = False
    num_classes: int | None = None

    def __init__(self, *, feat_dim: int, loss_weight: float) -> None:
        check(feat_dim=(feat_dim, 'int >= 1'), loss_weight=(loss_weight, '>= 0'))
        super().__init__()
        self.feat_dim, self.loss_weight = feat_dim, loss_weight

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of the classifier, C + 1."""
        self.num_classes = num_classes
        self.on_num_classes(num_classes)
        return num_classes + 1

    def on_num_classes(self, num_classes: int) -> None:
        """Take C from the head when it is built."""
        raise NotImplementedError

    def mean(self, loss: Tensor, added: Tensor, inputs: LossInputs) -> Tensor:
        """Return the weighted mean over the proposals of all ranks and the added rows.

        Args:
            loss: Loss of each proposal, (N,).
            added: Loss of each added row, (M,).
            inputs: With the weights and the number of the proposals.
        """
        total = (loss * inputs.weight).sum() + added.sum() / get_world_size()
        return total / divisor(inputs.avg_factor + len(added) / get_world_size(), total)

    def _check(self, inputs: LossInputs) -> None:
        name, columns, width = type(self).__name__, inputs.cls_score.size(1), inputs.features.size(1)
        if self.num_classes is None:
            raise missing_num_classes_error(name)
        if columns != self.num_classes + 1:
            raise InputError(f'{name}: expected logits (N, {self.num_classes + 1}), but got (N, {columns}).')
        if width != self.feat_dim:
            raise InputError(f'{name}: expected features (N, feat_dim={self.feat_dim}), but got (N, {width}).')


class DetectionLoss(BoxHeadLoss, LogitLoss):
    """Base class of losses for box heads: C classes, label C is background.

    The defaults are right for one sigmoid per class, with or without a column for background. On several GPUs only
    ltmm's heads take it: it divides by the proposals of all ranks, and mmdet's heads skip it on ranks without any.

    ``class_weight`` has C entries: the loss of a proposal is multiplied by the weight of its class, that of background
    by 1.

    Attributes:
        num_background_columns: Columns of the classifier beside those of the C classes.
        num_columns: Columns that the logits must have; None until a head has said how many classes it has.
        needs_num_classes: Whether the loss cannot be computed before that.
    """

    use_sigmoid = True  # mmdet's dense and DETR heads read it
    num_background_columns = 0
    prior_prob = 0.001
    num_columns: int | None = None
    needs_num_classes = False
    background_hint = ' Leave the background class out.'

    def on_num_classes(self, num_classes: int) -> None:
        """Take C from the head when it is built; nothing by default."""

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of the classifier."""
        self.on_num_classes(num_classes)
        self.num_columns = num_classes + self.num_background_columns
        return self.num_columns

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return scores (N, C + 1): sigma(z_c) (1 - sigma(z_background)), or sigma(z_c) without such a column."""
        scores = at_least_float32(cls_score).sigmoid()
        if not self.num_background_columns:
            return torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)
        return torch.cat([scores[:, :-1] * (1 - scores[:, -1:]), scores[:, -1:]], dim=1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the accuracy among the objects, see :func:`foreground_accuracy`."""
        return foreground_accuracy(cls_score[:, : cls_score.size(1) - self.num_background_columns], labels)

    def class_factor(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return F.pad(self.class_weighting(cls_score), (0, 1), value=1.0)[label]

    def row_weight(self, cls_score: Tensor, label: Tensor, weight: Tensor | None) -> Tensor | None:
        """Return the weight of each proposal with that of its class, (N,)."""
        if self.class_weighting is None:
            return weight
        factor = self.class_factor(cls_score, label)
        return factor if weight is None else factor * weight

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        if self.needs_num_classes and self.num_columns is None:
            raise missing_num_classes_error(type(self).__name__)
        super()._check(cls_score, label)
        if self.num_columns is not None and cls_score.size(1) != self.num_columns:
            raise InputError(
                f'{type(self).__name__}: expected logits (N, {self.num_columns}), but got {tuple(cls_score.shape)}: '
                'the classifier of this head does not ask the loss for its width.'
            )


class DenseHeadLoss(DetectionLoss):
    """Base class of losses that dense and DETR heads take too: there they have C columns and plain sigmoids."""

    def get_dense_channels(self, num_classes: int) -> int:
        """Return the width of the classifier of a dense or DETR head, C."""
        self.on_num_classes(num_classes)
        self.custom_cls_channels = self.custom_activation = self.custom_accuracy = False
        self.num_background_columns = 0
        self.num_columns = num_classes
        return num_classes

    def one_update(self) -> AbstractContextManager:
        """Within it, all calls belong to one iteration: the levels of a dense head, the layers of a DETR decoder."""
        return nullcontext()


class ClassPriorDetectionLoss(UsesClassPrior, DenseHeadLoss):
    """Base class of detection losses that depend on the class distribution.

    A subclass writes :meth:`unreduced`, and derives its tensors in :meth:`on_class_distribution`.

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: See :class:`DetectionLoss`.
        class_counts: Training images per class. Default: taken from the training data.
        num_classes: C, to check the counts against; heads of ltmm fill it in.
    """

    background_hint = ' Leave the background class out: counts are of the foreground classes only.'

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

    def on_num_classes(self, num_classes: int) -> None:
        """Check C, and all further counts against it."""
        check_num_classes(type(self).__name__, num_classes, self._num_classes)
        self._num_classes = num_classes

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        self.check_logits(cls_score[:, : cls_score.size(1) - self.num_background_columns])


class MMDetSoftmaxLoss(BoxHeadLoss):
    """Adapter of mmdet's softmax cross entropy."""

    use_sigmoid = False

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def get_cls_channels(self, num_classes: int) -> int:
        return num_classes + 1

    def get_activation(self, cls_score: Tensor) -> Tensor:
        return cls_score.softmax(-1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return dict(acc=100 * (cls_score.argmax(1) == labels).sum() / max(len(labels), 1))

    def forward(
        self, cls_score: Tensor, label: Tensor, *args: Any, avg_factor: float | None = None, **kwargs: Any
    ) -> Tensor | dict[str, Tensor]:
        avg_factor = divisor(len(label) if avg_factor is None else avg_factor, cls_score)
        return self.loss(cls_score, label, *args, avg_factor=avg_factor, **kwargs)


class MMDetSeesawLoss(MMDetSoftmaxLoss):
    """Adapter of mmdet's Seesaw loss, which has the interface of a box head loss."""

    def get_cls_channels(self, num_classes: int) -> int:
        return self.loss.get_cls_channels(num_classes)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        return self.loss.get_activation(cls_score)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return self.loss.get_accuracy(cls_score, labels)


def build_detection_loss(loss: nn.Module | dict, owner: str) -> BoxHeadLoss:
    """Build a loss inside of another, of ltmm or one of mmdet's that box heads use.

    Args:
        loss: The loss, or its config.
        owner: Name of the other loss, for messages.
    """
    loss = build_loss(loss)
    if isinstance(loss, BoxHeadLoss):
        return loss
    if mmdet_is_usable():
        from mmdet.models.losses import CrossEntropyLoss, SeesawLoss

        if isinstance(loss, SeesawLoss):
            return MMDetSeesawLoss(loss)
        if isinstance(loss, CrossEntropyLoss) and not (loss.use_sigmoid or loss.use_mask):
            return MMDetSoftmaxLoss(loss)
    raise InputTypeError(
        f"{owner} accepts DetectionLoss, mmdet's SeesawLoss or its CrossEntropyLoss with a softmax, but got "
        f'{type(loss).__name__}.'
    )
