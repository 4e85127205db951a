"""Base class of the corrections of a trained detector's scores."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.roi_heads.bbox_heads import BBoxHead, DIIHead
from torch import Tensor, nn

from ltmm.utils.errors import InputError, InputTypeError

from .base import PostProcess, add_mixin

__all__ = ['Corrected', 'DetectorCorrection', 'classifier_layer', 'scores_by_sigmoid']

KNOWN_METHODS = {
    method
    for head in (BBoxHead, BaseDenseHead, dense_heads.DETRHead, dense_heads.DeformableDETRHead)
    for method in (head.predict_by_feat, head._predict_by_feat_single)
}
CLASSIFIERS = {
    BBoxHead: 'fc_cls',
    dense_heads.RetinaHead: 'retina_cls',
    dense_heads.ATSSHead: 'atss_cls',
    dense_heads.DETRHead: 'fc_cls',
}
"""Layers that compute the logits; :func:`classifier_layer` knows those of Deformable DETR."""


class DetectorCorrection(PostProcess):
    """Base class of corrections that change the logits of a detector's classes.

    A subclass defines :meth:`correct_logits`. It supports all heads derived from mmdet's BBoxHead (Faster, Mask,
    Cascade R-CNN, ...), BaseDenseHead (RetinaNet, ATSS, FCOS, SSD, ...) and DETRHead (DETR, Deformable DETR, DINO) that
    leave the scores to these; YOLOX, GFL, PAA, Sparse R-CNN and others do not. The proposals of a two-stage DETR's
    encoder stay as they are. In a cascade, the mean of the stages' logits is corrected; if the correction is written
    into ``fc_cls`` of each stage, boxes that are refined per class can follow another class.
    """

    objective = 'bbox_AP'
    processor = 'ltmm.DetectorPostProcessor'
    head_types: ClassVar[dict[str, type]] = dict(
        BBoxHead=BBoxHead, BaseDenseHead=BaseDenseHead, DETRHead=dense_heads.DETRHead
    )
    """Base classes of the heads that are supported, by name."""
    needs_sigmoid_or_softmax: bool = True
    """Whether the formula holds only for scores that are a softmax or one sigmoid per class."""
    corrects_each_stage: ClassVar[bool] = False
    """Whether each stage of a cascade is corrected by itself, instead of the mean of their logits."""

    def correct_logits(self, cls_score: Tensor, uses_sigmoid: bool) -> Tensor:
        """Corrected logits, (..., width).

        Args:
            cls_score: Logits, (..., width), those of the C classes first; further columns stand for background.
            uses_sigmoid: Whether the scores are one sigmoid per class, instead of a softmax.
        """
        raise NotImplementedError(f'{type(self).__name__} must define correct_logits(cls_score, uses_sigmoid).')

    def forward(self, cls_score: Tensor, activation: Callable[[Tensor], Tensor], uses_sigmoid: bool = False) -> Tensor:
        """Corrected scores of a box head, (N, C + 1).

        Args:
            cls_score: Logits, (N, C), (N, C + 1) or (N, C + 2).
            activation: From logits to the head's own scores.
            uses_sigmoid: See :meth:`correct_logits`.
        """
        return activation(self.correct_logits(cls_score, uses_sigmoid))

    def check_width(self, width: int, num_classes: int) -> None:
        """Raise unless logits have ``num_classes`` columns, and up to 2 of background."""
        if width - num_classes not in (0, 1, 2):
            raise InputError(
                f'{type(self).__name__}: expected logits of {num_classes} classes and up to 2 columns of background, '
                f"but got {width}. BAGS and several experts take ltmm.NorCal(on='probs', renorm=False)."
            )

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        if isinstance(model, TwoStageDetector):
            name, head = 'roi_head.bbox_head', model.roi_head.bbox_head
        elif isinstance(model, (SingleStageDetector, DetectionTransformer)):
            name, head = 'bbox_head', model.bbox_head
        else:
            raise InputTypeError(f"{type(self).__name__} corrects mmdet's detectors, but got {type(model).__name__}.")
        if isinstance(head, nn.ModuleList):
            return {f'{name}.{stage}': each for stage, each in enumerate(head)}
        return {name: head}

    def corrected(self, heads: Collection[nn.Module]) -> Collection[nn.Module]:
        return heads if self.corrects_each_stage else list(heads)[-1:]

    def check(self, head: nn.Module) -> None:
        if any(isinstance(part, Corrected) for part in (head, getattr(head, 'loss_cls', None))):
            raise InputError('Expected a head without a correction, but its scores are calibrated already.')
        *others, last = self.head_types
        is_known = isinstance(head, tuple(self.head_types.values())) and not isinstance(head, DIIHead)  # of RoI heads
        if not is_known or not {type(head).predict_by_feat, type(head)._predict_by_feat_single} <= KNOWN_METHODS:
            names = f'{", ".join(others)} or {last}' if others else last
            raise InputTypeError(
                f"{type(self).__name__} needs a head that leaves the scores to mmdet's {names}, but got "
                f'{type(head).__name__}.'
            )
        if self.needs_sigmoid_or_softmax and scores_by_sigmoid(head) is None:
            raise InputTypeError(
                f'{type(self).__name__} needs scores that are a softmax or one sigmoid per class, but those of '
                f"{type(head.loss_cls).__name__} are neither: use ltmm.NorCal(on='probs', renorm=False)."
            )

    def attach(self, head: nn.Module) -> None:
        self.check(head)
        uses_sigmoid = scores_by_sigmoid(head)
        if isinstance(head, BBoxHead):
            uses_softmax = not head.custom_cls_channels
            add_mixin(
                head.loss_cls, CorrectedLoss, step=self, uses_softmax=uses_softmax, scores_by_sigmoid=uses_sigmoid
            )
            head.loss_cls.custom_cls_channels = True  # mmdet's head asks the loss for the scores
        else:
            add_mixin(head, CorrectedHead, step=self, scores_by_sigmoid=uses_sigmoid)

    def correct_outputs(
        self, cls_scores: Tensor | Sequence[Tensor], width: int, uses_sigmoid: bool
    ) -> Tensor | list[Tensor]:
        """Correct the logits of a DETR head, (..., width), or of each level of a dense head, (B, A width, H, W)."""
        if isinstance(cls_scores, Tensor):
            return self.correct_logits(cls_scores, uses_sigmoid)
        levels = (level.unflatten(1, (-1, width)).movedim(2, -1) for level in cls_scores)  # (B, A, H, W, width)
        return [self.correct_logits(level, uses_sigmoid).movedim(-1, 2).flatten(1, 2) for level in levels]

    def is_shift(self, head: nn.Module) -> bool:
        """Whether the correction adds a constant to the logits of each class, which a bias can hold."""
        return False

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = classifier_layer(head)
        if layer is None or layer.bias is None or not self.is_shift(head):
            return False
        num_priors = head.num_base_priors if isinstance(layer, nn.Conv2d) else 1
        bias = layer.bias.view(num_priors, -1)  # (A, width)
        if bias.size(1) - head.num_classes not in (0, 1, 2):
            return False
        bias.copy_(self.correct_logits(bias, scores_by_sigmoid(head)))
        return True


class Corrected:
    """Mark of a module that is corrected already."""


class CorrectedLoss(Corrected):
    """Mixin for the loss of a box head, which computes the scores: corrects them, except in training."""

    step: DetectorCorrection
    uses_softmax: bool
    scores_by_sigmoid: bool

    def get_activation(self, cls_score: Tensor) -> Tensor:
        activation = partial(torch.softmax, dim=-1) if self.uses_softmax else super().get_activation
        if not self.step.enabled or self.training:
            return activation(cls_score)
        return self.step(cls_score, activation, self.scores_by_sigmoid)


class CorrectedHead(Corrected):
    """Mixin for a dense or DETR head: corrects the logits before its prediction, except in training."""

    step: DetectorCorrection
    scores_by_sigmoid: bool

    def predict_by_feat(self, cls_scores: Tensor | Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        if self.step.enabled and not self.training:
            cls_scores = self.step.correct_outputs(cls_scores, self.cls_out_channels, self.scores_by_sigmoid)
        return super().predict_by_feat(cls_scores, *args, **kwargs)


def scores_by_sigmoid(head: nn.Module) -> bool | None:
    """Whether the scores of a head of mmdet or ltmm are one sigmoid per class, or a softmax; None for other scores.

    A box head takes the softmax, whatever its loss, unless the loss computes the scores.
    """
    if isinstance(head, BBoxHead):
        return getattr(head.loss_cls, 'use_sigmoid', None) if head.custom_cls_channels else False
    return head.use_sigmoid_cls if hasattr(head, 'use_sigmoid_cls') else head.loss_cls.use_sigmoid


def classifier_layer(head: nn.Module) -> nn.Module | None:
    """Return the layer that computes the logits at test time; None if there is none of a known kind."""
    if isinstance(head, dense_heads.DeformableDETRHead):  # one per decoder layer, two-stage: the last is the encoder's
        if not head.as_two_stage:
            return head.cls_branches[-1]
        return None if head.cls_branches[-2] is head.cls_branches[-1] else head.cls_branches[-2]
    layer = next((getattr(head, name) for base, name in CLASSIFIERS.items() if isinstance(head, base)), None)
    return None if isinstance(head, BBoxHead) and type(layer) is not nn.Linear else layer
