"""Losses of a head: which kinds it accepts, and how their terms are merged."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.layers.normed_linear import CosineLayer
from ltmm.models.losses.base import CosineLoss, InnerLoss, LogitLoss, cosine_scale
from ltmm.models.losses.class_weights import ClassWeights
from ltmm.models.losses.detection.base import BoxHeadLoss
from ltmm.models.losses.objective import AuxLoss, LossInputs, Objective, merge_terms
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['ChecksLosses', 'LongTailHeadMixin', 'ScoresMixin', 'check_cosine_scale', 'check_loss']

KINDS = (LogitLoss, BoxHeadLoss, Objective, InnerLoss)


def check_loss(
    head: nn.Module, loss: nn.Module, accepts: tuple[type, ...], provides: Sequence[str] = (), name: str | None = None
) -> None:
    """Refuse a loss of ltmm in a head that it does not fit. Losses of other packages are not checked.

    Args:
        head: The head.
        loss: Its loss.
        accepts: Base classes of the losses that fit.
        provides: Fields of :class:`LossInputs` that the head fills.
        name: Name of the head in messages; its class by default.
    """
    name, kind = name or type(head).__name__, type(loss).__name__
    if isinstance(loss, KINDS) and not isinstance(loss, accepts):
        kinds = ' or '.join(cls.__name__ for cls in accepts) or 'no loss of ltmm'
        raise InputTypeError(f'{name} accepts {kinds}, but got {kind} ({type(loss).__mro__[1].__name__}).')
    missing = sorted(set(loss.requires) - set(provides)) if isinstance(loss, Objective) else []
    if missing:
        raise InputTypeError(f'{kind} needs {missing}, which {name} does not provide.')
    for part in loss.modules():
        if isinstance(part, CosineLoss):
            _check_cosine(name, head, part)
        num_classes = getattr(head, 'num_classes', None)  # some heads of mmdet have none
        if isinstance(part, UsesClassDistribution) and num_classes is not None:
            expected = part.expected_num_classes()
            if expected not in (None, num_classes):
                hint = part.background_hint if expected == num_classes + 1 else ''
                raise ClassDistributionError(
                    f'{name} has num_classes={num_classes}, but its {_counts_of(part)} of {expected} classes.{hint}'
                )


def _counts_of(part: UsesClassDistribution) -> str:
    """Name counts or weights of a loss, for messages."""
    if isinstance(part, ClassWeights):
        return f'{part.name} has a `class_weight`'
    return f'{type(part).__name__} has counts'


def _check_cosine(name: str, head: nn.Module, loss: CosineLoss) -> None:
    """Refuse a loss of cosines in a head without a cosine layer, and cosines that are not scaled exactly once."""
    kind, layers = type(loss).__name__, [layer for layer in head.modules() if isinstance(layer, CosineLayer)]
    expected = loss.scale if loss.scaled_by_layer else 1
    if not layers:
        scale = f', scale={expected}' if loss.scaled_by_layer else ''
        raise InputTypeError(f"{kind} takes cosines: use classifier=dict(type='ltmm.NormedLinear'{scale}) in {name}.")
    for layer in layers:
        if layer.scale != expected and (loss.scaled_by_layer or loss.scale != 1):
            raise InputError(
                f'{name}: {kind}(scale={loss.scale}) expects {type(layer).__name__}(scale={expected}), but got '
                f'scale={layer.scale}.'
            )


def check_cosine_scale(head: nn.Module, loss: nn.Module, name: str | None = None) -> None:
    """Refuse unscaled cosine logits: with logits in [-1, 1], the softmax cannot come near 1."""
    if isinstance(loss, Objective) and not {'cls_score', 'expert_logits'} & set(loss.requires):
        return
    for layer in head.modules():
        if isinstance(layer, CosineLayer) and layer.scale * cosine_scale(loss) <= 1:
            kind, name = type(layer).__name__, name or type(head).__name__
            raise InputError(
                f'{name}: the logits of {kind}(scale={layer.scale}) stay within [-1, 1], and {type(loss).__name__} '
                'does not scale them, so that no class can reach a probability near 1. Use '
                f"classifier=dict(type='ltmm.{kind}', scale=30), or ltmm.Linear."
            )


class ChecksLosses:
    """Mixin of heads that check their losses when they are built.

    Attributes:
        accepts: Base classes of the main loss.
        provides: Fields of :class:`LossInputs` that the head fills.
    """

    accepts: ClassVar[tuple[type, ...]]
    provides: ClassVar[tuple[str, ...]] = ()

    def init_aux_losses(self, main_loss: nn.Module, aux_losses: Sequence[dict]) -> None:
        """Build the auxiliary losses, and check that these and the main loss fit.

        Args:
            main_loss: The main loss of the head.
            aux_losses: Configs of objectives, see :class:`AuxLoss`.
        """
        self.aux_losses = nn.ModuleList(map(AuxLoss, aux_losses))
        check_loss(self, main_loss, self.accepts, [name for name in self.provides if name != 'loss'])
        check_cosine_scale(self, main_loss)
        for aux_loss in self.aux_losses:
            check_loss(self, aux_loss.objective, (Objective,), self.provides)


class LongTailHeadMixin(ChecksLosses, UsesClassDistribution):
    """Mixin of mmpretrain's heads: main loss of either kind, auxiliary losses, class distribution in the checkpoint."""

    provides = (
        'cls_score',
        'label',
        'features',
        'sample_idx',
        'teacher_logits',
        'key_features',
        'unlabeled_score',
        'unlabeled_features',
        'unlabeled_idx',
        'also_labeled',
        'classifier',
        'loss',
    )

    def init_losses(
        self, num_classes: int, class_counts: Sequence[int] | dict | str | None, aux_losses: Sequence[dict]
    ) -> None:
        """Check the main loss and build the auxiliary ones; call it in ``__init__`` after the classifier is built.

        Args:
            num_classes: C.
            class_counts: Training images per class. Default: taken from the training data.
            aux_losses: Configs of objectives, see :class:`AuxLoss`.
        """
        check(num_classes=(num_classes, 'int >= 1'))
        self.init_class_distribution(class_counts, num_classes)
        self.init_aux_losses(self.loss_module, aux_losses)

    def init_weights(self) -> None:
        """Initialize the classifier as ``init_cfg`` says, and auxiliary losses as they wish."""
        super().init_weights()
        for aux_loss in self.aux_losses:
            aux_loss.objective.init_weights()

    def checked_features(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the input of the classifier, (N, D), if its width is ``in_channels``."""
        features = self.pre_logits(feats)
        if features.dim() == 2 and features.size(1) == self.in_channels > 1:
            return features
        hint = 'A neck is missing.' if features.dim() != 2 else f'Set in_channels={features.size(1)}.'
        if features.dim() == 2 and features.size(1) == 1:
            hint = 'A backbone that pools already, such as a ViT, needs no pooling neck.'
        raise InputError(
            f'{type(self).__name__}: expected features (N, in_channels={self.in_channels}), but got '
            f'{tuple(features.shape)}. {hint}'
        )

    def labels_of(self, data_samples: Sequence[DataSample]) -> Tensor:
        """Return class indices, (N,), or soft labels, (N, C)."""
        if 'gt_score' in data_samples[0]:
            return torch.stack([sample.gt_score for sample in data_samples])
        return torch.cat([sample.gt_label for sample in data_samples])

    def hard_labels_of(self, data_samples: Sequence[DataSample]) -> Tensor | None:
        """Return the class indices of the images, (N,), also where Mixup has mixed others in; None without any."""
        if 'gt_label' not in data_samples[0]:
            return None
        return torch.cat([sample.gt_label for sample in data_samples])

    def main_loss(self, inputs: LossInputs) -> Tensor:
        """Compute a main loss that is a function of logits and labels."""
        return self.loss_module(inputs.cls_score, inputs.label, avg_factor=len(inputs.cls_score))

    def compute_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute the terms of the main loss and of the auxiliary losses."""
        if isinstance(self.loss_module, Objective):
            main = self.loss_module(inputs)
        else:  # beside others it must not have the name of the total in MMEngine's log
            main = {'loss_cls' if self.aux_losses else 'loss': self.main_loss(inputs)}
        return merge_terms(main, self.aux_losses, inputs)


class ScoresMixin:
    """Mixin of mmpretrain's heads whose scores suit the loss: scaled cosines, and sigmoids where it has them."""

    def init_scores(self) -> None:
        """Read the loss; call it in ``__init__`` after the loss is built."""
        self.cosine_scale = cosine_scale(self.loss_module)
        parts = self.loss_module.modules()
        self.use_sigmoid = any(getattr(part, 'use_sigmoid', False) for part in parts)  # as mmpretrain's losses say it

    def scaled(self, logits: Tensor) -> Tensor:
        """Multiply the logits by the scale of the loss in evaluation mode."""
        return logits if self.training or self.cosine_scale == 1 else self.cosine_scale * logits

    def scores(self, logits: Tensor) -> Tensor:
        """Return the softmax or the sigmoids of logits (..., C)."""
        return logits.sigmoid() if self.use_sigmoid else logits.softmax(-1)

    def _get_predictions(self, cls_score: Tensor, data_samples: list[DataSample | None] | None) -> list[DataSample]:
        predictions = super()._get_predictions(cls_score, data_samples)
        if self.use_sigmoid:
            for sample, score in zip(predictions, self.scores(cls_score)):
                sample.set_pred_score(score)
        return predictions
