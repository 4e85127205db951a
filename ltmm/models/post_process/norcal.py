"""NorCal: calibrate the scores of a trained detector by the class frequencies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.models import dense_heads
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.roi_heads.bbox_heads import BBoxHead, DIIHead
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .base import PostProcess, add_mixin

__all__ = ['NorCal', 'norcal_divisor', 'norcal_logits', 'norcal_scores']

HEADS = (BBoxHead, BaseDenseHead, dense_heads.DETRHead, dense_heads.DeformableDETRHead)
KNOWN_METHODS = {method for head in HEADS for method in (head.predict_by_feat, head._predict_by_feat_single)}
CLASSIFIERS = {
    BBoxHead: 'fc_cls',
    dense_heads.RetinaHead: 'retina_cls',
    dense_heads.ATSSHead: 'atss_cls',
    dense_heads.DETRHead: 'fc_cls',
}
"""Layers that compute the logits; :func:`_classifier` knows those of Deformable DETR."""


def norcal_divisor(counts: np.ndarray, gamma: float, factor: str) -> np.ndarray:
    r"""Compute the divisor per class, (C,): :math:`n^\gamma`, or :math:`(1 - \gamma^n) / (1 - \gamma)`.

    Args:
        counts: Training images per class, n, (C,); 0 counts as 1.
        gamma: Strength; 0 gives 1 for all classes.
        factor: ``'power'`` or ``'effective_number'``.
    """
    counts = np.maximum(counts, 1).astype(float)
    if factor == 'power':
        return counts**gamma
    return ClassDistribution(counts).effective_number(gamma)


def norcal_logits(cls_score: Tensor, divisor: Tensor, on: str) -> Tensor:
    """Calibrate the logits of the C classes and leave further columns alone.

    Args:
        cls_score: Logits, (..., C) or wider, those of the C classes first.
        divisor: a, (C,), float64.
        on: With ``'logits'`` they are divided by a; with ``'exps'`` and ``'probs'`` log a is subtracted, as
            e^z / a = e^(z - log a), in a softmax as in a sigmoid.
    """
    classes, others = cls_score[..., : len(divisor)], cls_score[..., len(divisor) :]
    classes = classes / divisor.to(classes) if on == 'logits' else classes - divisor.log().to(classes)
    return torch.cat([classes, others], dim=-1)


def norcal_scores(
    cls_score: Tensor, divisor: Tensor, activation: Callable[[Tensor], Tensor], on: str, renorm: bool
) -> Tensor:
    """Compute calibrated scores, (N, C + 1).

    Args:
        cls_score: Logits, (N, C) or wider, those of the C classes first.
        divisor: (C,), float64.
        activation: From logits to scores (N, C + 1), a softmax or sigmoids.
        on: ``'exps'``, ``'probs'`` or ``'logits'``.
        renorm: Whether the scores are normalized again.
    """
    if renorm or on == 'logits':
        return activation(norcal_logits(cls_score, divisor, on))
    scores = activation(cls_score)
    return torch.cat([scores[:, : len(divisor)] / divisor.to(scores), scores[:, len(divisor) :]], dim=1)


@MODELS.register_module()
class NorCal(UsesClassDistribution, PostProcess):
    r"""Lowers the detection scores of frequent classes relative to rare ones.

    For heads with a softmax over classes and background (b), and for heads with one sigmoid per class:

    .. math::
        s_c = \frac{e^{z_c} / a_c}{\sum_k e^{z_k} / a_k + e^{z_b}}, \qquad
        s_c = \frac{p_c / a_c}{p_c / a_c + 1 - p_c}, \qquad a_c = n_c^\gamma

    n is the number of training images per class, read from the checkpoint. Background is left alone. Both are shifts
    of the logits by :math:`-\log a_c`, as is the calibration of Seesaw's scores. It supports all heads derived from
    mmdet's BBoxHead (Faster, Mask, Cascade R-CNN, ...), BaseDenseHead (RetinaNet, ATSS, FCOS, SSD, ...) and DETRHead
    (DETR, Deformable DETR, DINO) that leave the scores to these; YOLOX, GFL, PAA, Sparse R-CNN and others do not. The
    proposals of a two-stage DETR's encoder stay as they are.

    References:
        [0] Pan et al., On Model Calibration for Long-Tailed Object Detection and Instance Segmentation, NeurIPS 2021,
            arXiv 2107.02170.
        [1] github.com/tydpan/NorCal @23e5ab6. Reproduced (tests/conformance, ``norcal``).

    Args:
        gamma: Strength; 0 changes nothing.
        factor: ``'power'``, :math:`a = n^\gamma`, or ``'effective_number'`` (``cb`` in [1]),
            :math:`a = (1 - \gamma^n) / (1 - \gamma)`, with gamma below 1, such as 0.999.
        on: What is divided by a: ``'exps'``, the exponentials of the logits; ``'probs'``, equal but for normalization;
            or ``'logits'``.
        renorm: Whether the scores sum to 1 again; without it they are :math:`p_c / a_c`, on box heads only.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    strength = 'gamma'
    grid = (0, 1, 11)
    objective = 'bbox_AP'
    processor = 'ltmm.DetectorPostProcessor'

    def __init__(
        self,
        gamma: float = 0.6,
        factor: str = 'power',
        on: str = 'exps',
        renorm: bool = True,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        check(factor=(factor, ('effective_number', 'power')), on=(on, ('exps', 'logits', 'probs')))
        check(gamma=(gamma, '>= 0' if factor == 'power' else 'in [0, 1)'))
        if on == 'logits' and not renorm:
            raise InputError("Expected renorm=True with on='logits', whose scores are always normalized.")
        self.gamma, self.factor, self.on, self.renorm = gamma, factor, on, renorm
        if factor == 'effective_number':
            self.grid = (0, 0.99, 12)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def forward(self, cls_score: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """Calibrated scores, (N, C + 1).

        Args:
            cls_score: Logits of a box head, (N, C), (N, C + 1) or (N, C + 2).
            activation: From logits to the head's own scores.
        """
        divisor = self._divisor(cls_score.size(1) if self.renorm else None).to(cls_score.device)
        return norcal_scores(cls_score, divisor, activation, self.on, self.renorm)

    def _divisor(self, width: int | None) -> Tensor:
        """See :func:`norcal_divisor`; ``width`` of the logits is checked."""
        distribution = self.get_class_distribution()
        if width is not None and width - len(distribution) not in (0, 1, 2):
            raise InputError(
                f'NorCal: expected logits of {len(distribution)} classes and up to 2 columns of background, but got '
                f"{width}. Use on='probs', renorm=False for several experts."
            )
        return torch.from_numpy(norcal_divisor(distribution.image_counts, self.gamma, self.factor))

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        if isinstance(model, TwoStageDetector):
            name, head = 'roi_head.bbox_head', model.roi_head.bbox_head
        elif isinstance(model, (SingleStageDetector, DetectionTransformer)):
            name, head = 'bbox_head', model.bbox_head
        else:
            raise InputTypeError(f"NorCal corrects mmdet's detectors, but got {type(model).__name__}.")
        if isinstance(head, nn.ModuleList):
            return {f'{name}.{stage}': each for stage, each in enumerate(head)}
        return {name: head}

    def check(self, head: nn.Module) -> None:
        calibrated = head.loss_cls if isinstance(head, BBoxHead) else head
        if isinstance(calibrated, (CalibratedHead, CalibratedLoss)):
            raise InputError('Expected a head without NorCal, but its scores are calibrated already.')
        is_known = isinstance(head, HEADS) and not isinstance(head, DIIHead)  # whose RoI head computes the scores
        if not is_known or not {type(head).predict_by_feat, type(head)._predict_by_feat_single} <= KNOWN_METHODS:
            raise InputTypeError(
                "NorCal needs a head that leaves the scores to mmdet's BBoxHead, BaseDenseHead or DETRHead, but got "
                f'{type(head).__name__}.'
            )
        if not self.renorm and not isinstance(head, BBoxHead):
            raise InputTypeError(f'NorCal(renorm=False) calibrates box heads only, but got {type(head).__name__}.')

    def attach(self, head: nn.Module) -> None:
        self.check(head)
        if isinstance(head, BBoxHead):
            add_mixin(head.loss_cls, CalibratedLoss, norcal=self, uses_softmax=not head.custom_cls_channels)
            head.loss_cls.custom_cls_channels = True  # mmdet's head asks the loss for the scores
        else:
            add_mixin(head, CalibratedHead, norcal=self)

    def calibrate(self, head: nn.Module, cls_scores: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Calibrate the logits of a DETR head, (..., width), or of each level of a dense head, (B, A width, H, W)."""
        width = head.cls_out_channels
        divisor = self._divisor(width)
        if isinstance(cls_scores, Tensor):
            return norcal_logits(cls_scores, divisor.to(cls_scores.device), self.on)
        levels = (level.unflatten(1, (-1, width)).movedim(2, -1) for level in cls_scores)  # (B, A, H, W, width)
        levels = (norcal_logits(level, divisor.to(level.device), self.on) for level in levels)
        return [level.movedim(-1, 2).flatten(1, 2) for level in levels]

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = _classifier(head)
        if self.on == 'logits' or not self.renorm or layer is None or layer.bias is None:
            return False
        num_priors = head.num_base_priors if isinstance(layer, nn.Conv2d) else 1
        bias = layer.bias.view(num_priors, -1)  # (A, width)
        if bias.size(1) - len(self.get_class_distribution()) not in (0, 1, 2):
            return False
        bias.copy_(norcal_logits(bias, self._divisor(bias.size(1)), self.on))
        return True

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(gamma=self.gamma, factor=self.factor, on=self.on, renorm=self.renorm, **counts)


class CalibratedLoss:
    """Mixin for the loss of a box head, which computes the scores: calibrates them, except in training."""

    norcal: NorCal
    uses_softmax: bool

    def get_activation(self, cls_score: Tensor) -> Tensor:
        activation = partial(torch.softmax, dim=-1) if self.uses_softmax else super().get_activation
        is_active = self.norcal.enabled and not self.training
        return self.norcal(cls_score, activation) if is_active else activation(cls_score)


class CalibratedHead:
    """Mixin for a dense or DETR head: calibrates the logits before its prediction, except in training."""

    norcal: NorCal

    def predict_by_feat(self, cls_scores: Tensor | Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        if self.norcal.enabled and not self.training:
            cls_scores = self.norcal.calibrate(self, cls_scores)
        return super().predict_by_feat(cls_scores, *args, **kwargs)


def _classifier(head: nn.Module) -> nn.Module | None:
    """Return the layer that computes the logits at test time; None if there is none of a known kind."""
    if isinstance(head, dense_heads.DeformableDETRHead):  # one per decoder layer, two-stage: the last is the encoder's
        if not head.as_two_stage:
            return head.cls_branches[-1]
        return None if head.cls_branches[-2] is head.cls_branches[-1] else head.cls_branches[-2]
    layer = next((getattr(head, name) for base, name in CLASSIFIERS.items() if isinstance(head, base)), None)
    return None if isinstance(head, BBoxHead) and type(layer) is not nn.Linear else layer
