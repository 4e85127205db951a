"""NorCal: calibrate what a trained detector is sure of, class by class."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

from .base import PostProcess

__all__ = ['NorCal', 'norcal_divisor', 'norcal_logits', 'norcal_scores']

FACTORS = ('effective_number', 'power')
PLACES = ('exps', 'logits', 'probs')
SCORE_MAKERS = {'BBoxHead', 'BaseDenseHead', 'DETRHead', 'DeformableDETRHead'}  # of mmdet; what they do is known
BOX_HEADS = ('roi', 'own_roi')
CLASSIFIERS = ('fc_cls', 'retina_cls', 'atss_cls')  # layers whose outputs are the logits


def norcal_divisor(counts: np.ndarray, gamma: float, factor: str) -> np.ndarray:
    r"""What each class is divided by, (C,): :math:`n^\gamma`, or :math:`(1 - \gamma^n) / (1 - \gamma)`.

    Args:
        counts: training images of each class, n, (C,); 0 counts as 1.
        gamma: strength; 0 gives 1 for all.
        factor: ``'power'`` or ``'effective_number'``.
    """
    counts = np.maximum(counts, 1).astype(float)
    if factor == 'power':
        return counts**gamma
    return ClassDistribution(counts).effective_number(gamma)


def norcal_logits(cls_score: Tensor, divisor: Tensor, on: str) -> Tensor:
    """Calibrated logits, (..., C) or wider; the others than those of the C classes stay as they are.

    Args:
        cls_score: logits, (..., C) or wider: those of the C classes come first.
        divisor: a, (C,), float64.
        on: ``'logits'``, which are divided by it; with ``'exps'`` and ``'probs'`` its logarithm is taken off, as
            e^z / a = e^(z - log a), in a softmax as in a sigmoid, and nothing overflows.
    """
    classes, others = cls_score[..., : len(divisor)], cls_score[..., len(divisor) :]
    classes = classes / divisor.to(classes) if on == 'logits' else classes - divisor.log().to(classes)
    return torch.cat([classes, others], dim=-1)


def norcal_scores(
    cls_score: Tensor, divisor: Tensor, activation: Callable[[Tensor], Tensor], on: str, renorm: bool
) -> Tensor:
    """Calibrated scores, (N, C + 1); background is what it was before it is normalised.

    Args:
        cls_score: logits, (N, C) or wider: those of the C classes come first, the others stay as they are.
        divisor: (C,), float64.
        activation: from logits to scores (N, C + 1), with a softmax or with sigmoids.
        on: ``'exps'``, ``'probs'`` or ``'logits'``.
        renorm: whether the scores are normalised again.
    """
    if renorm or on == 'logits':
        return activation(norcal_logits(cls_score, divisor, on))
    scores = activation(cls_score)
    return torch.cat([scores[:, : len(divisor)] / divisor.to(scores), scores[:, len(divisor) :]], dim=1)


@MODELS.register_module()
class NorCal(UsesClassDistribution, PostProcess):
    r"""Lowers the scores of the classes that many training images hold, so that the tail is not lost behind them.

    For heads with a softmax over classes and background (b), and for those with a sigmoid for each class:

    .. math::
        s_c = \frac{e^{z_c} / a_c}{\sum_k e^{z_k} / a_k + e^{z_b}}, \qquad
        s_c = \frac{p_c / a_c}{p_c / a_c + 1 - p_c}, \qquad a_c = n_c^\gamma

    with the number n of training images of each class, out of the checkpoint. Background is left alone. Both are
    shifts of the logits by :math:`-\log a_c`, and so is what becomes of Seesaw's scores, whose classes and objectness
    are apart. It works on Faster, Mask and Cascade R-CNN and whatever else has mmdet's box heads; on detectors of one
    stage whose scores are made by mmdet's BaseDenseHead (RetinaNet, ATSS, FCOS, SSD, ...); and on DETR, Deformable DETR
    and DINO, where what the encoder proposes in two stages stays as it is. Heads that make their scores by code of
    their own (YOLOX, GFL, PAA, Sparse R-CNN, ...) are refused.

    [0] Pan et al., On Model Calibration for Long-Tailed Object Detection and Instance Segmentation, NeurIPS 2021, arXiv
        2107.02170.
    [1] github.com/tydpan/NorCal @23e5ab6. Equal to [1] on its own numbers (tests/conformance, ``norcal``).

    Args:
        gamma: strength, at least 0; 0 changes nothing.
        factor: ``'power'``, :math:`a = n^\gamma`, or ``'effective_number'`` (``cb`` in [1]),
            :math:`a = (1 - \gamma^n) / (1 - \gamma)`, with gamma below 1, such as 0.999.
        on: what is divided by a: ``'exps'``, the exponentials of the logits, or ``'probs'``, which are the same but for
            their sum, or ``'logits'``.
        renorm: whether the scores sum to 1 again; without it they are :math:`p_c / a_c`, on box heads only.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; taken from the
            checkpoint when left out.

    Raises:
        ValueError: a ``gamma`` out of range, an unknown ``factor`` or ``on``, or ``renorm=False`` with logits; at a
            forward, logits of other classes than the training data have.
        TypeError: a model that is no detector of mmdet, or one whose head makes its scores by itself; or
            ``renorm=False`` without a box head.
        RuntimeError: neither the checkpoint nor ``class_counts`` gives the counts.
    """

    fits = (*BOX_HEADS, 'dense', 'detr', 'ltmm_dense', 'ltmm_detr')
    strength = 'gamma'
    grid = (0, 1, 11)
    objective = 'bbox_AP'

    def __init__(
        self,
        gamma: float = 0.6,
        factor: str = 'power',
        on: str = 'exps',
        renorm: bool = True,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        for name, value, valid in (('factor', factor, FACTORS), ('on', on, PLACES)):
            if value not in valid:
                raise ValueError(f'Expected `{name}` to be one of {list(valid)}, but got {value!r}.')
        if not 0 <= gamma < (1 if factor == 'effective_number' else float('inf')):
            limit = 'in [0, 1)' if factor == 'effective_number' else 'at least 0'
            raise ValueError(f'Expected `gamma` to be {limit}, but got {gamma}.')
        if on == 'logits' and not renorm:
            raise ValueError("Expected renorm=True with on='logits': scores of logits are normalised in any case.")
        self.gamma, self.factor, self.on, self.renorm = gamma, factor, on, renorm
        if factor == 'effective_number':
            self.grid = (0, 0.99, 12)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def forward(self, cls_score: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """Calibrated scores, (N, C + 1).

        Args:
            cls_score: logits of a box head, (N, C), (N, C + 1) or (N, C + 2).
            activation: from logits to the head's own scores.
        """
        divisor = self._divisor(cls_score.size(1) if self.renorm else None).to(cls_score.device)
        return norcal_scores(cls_score, divisor, activation, self.on, self.renorm)

    def _divisor(self, width: int | None) -> Tensor:
        """See :func:`norcal_divisor`; for logits of this width, which is checked."""
        distribution = self.get_class_distribution()
        if width is not None and width - len(distribution) not in (0, 1, 2):
            raise ValueError(
                f'NorCal: expected logits of the {len(distribution)} classes in the training data, and up to 2 of '
                f"background, but got {width}. What several experts predict takes on='probs', renorm=False."
            )
        return torch.from_numpy(norcal_divisor(distribution.image_counts, self.gamma, self.factor))

    def check(self, head: nn.Module) -> None:
        """Refuse a head that makes its scores by code of its own, and what is no head of a detector at all."""
        classes = type(head).__mro__
        methods = ('predict_by_feat', '_predict_by_feat_single')
        makers = {next((c.__name__ for c in classes if method in vars(c)), None) for method in methods}
        if not makers <= SCORE_MAKERS or 'DIIHead' in {c.__name__ for c in classes}:  # whose RoI head makes them
            raise TypeError(
                "NorCal calibrates the scores that mmdet's BBoxHead (Faster, Mask and Cascade R-CNN), BaseDenseHead "
                '(RetinaNet, ATSS, FCOS, ...) and DETRHead (DETR, Deformable DETR, DINO) make of their logits, but '
                f'{type(head).__name__} does not leave that to them.'
            )
        if not self.renorm and makers != {'BBoxHead'}:
            raise TypeError(f'NorCal(renorm=False) calibrates box heads only, but got {type(head).__name__}.')

    def attach(self, head: nn.Module) -> None:
        """Correct all that ``head`` predicts from now on; what it does in training stays as it is.

        Args:
            head: a head that passes :meth:`check`.
        """
        if _is_box_head(head):
            return self._attach_to_box_head(head)
        predict = head.predict_by_feat

        def predict_by_feat(cls_scores: Tensor | Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
            return predict(cls_scores if head.training else self._logits(head, cls_scores), *args, **kwargs)

        head.predict_by_feat = predict_by_feat

    def _logits(self, head: nn.Module, cls_scores: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Calibrated logits of a DETR head, (..., width), or of each level of a dense head, (B, A width, H, W)."""
        width = head.cls_out_channels
        divisor = self._divisor(width)
        if isinstance(cls_scores, Tensor):
            return norcal_logits(cls_scores, divisor.to(cls_scores.device), self.on)
        levels = (level.unflatten(1, (-1, width)).movedim(2, -1) for level in cls_scores)  # (B, A, H, W, width)
        levels = (norcal_logits(level, divisor.to(level.device), self.on) for level in levels)
        return [level.movedim(-1, 2).flatten(1, 2) for level in levels]

    def _attach_to_box_head(self, head: nn.Module) -> None:
        loss = head.loss_cls
        activation = loss.get_activation if head.custom_cls_channels else partial(torch.softmax, dim=-1)

        def scores(cls_score: Tensor) -> Tensor:
            return activation(cls_score) if head.training else self(cls_score, activation)

        loss.get_activation = scores
        loss.custom_cls_channels = True  # from now on mmdet's head asks the loss for the scores

    def fold(self, head: nn.Module) -> bool:
        """Shift the bias of the classifier, where the correction is a shift of the logits."""
        layer = _classifier(head)
        if self.on == 'logits' or not self.renorm or layer is None or layer.bias is None:
            return False
        num_priors = head.num_base_priors if isinstance(layer, nn.Conv2d) else 1
        bias = layer.bias.data.view(num_priors, -1)  # (A, width)
        if bias.size(1) - len(self.get_class_distribution()) not in (0, 1, 2):
            return False
        bias.copy_(norcal_logits(bias, self._divisor(bias.size(1)), self.on))
        return True

    def settings(self) -> Mapping[str, Any]:
        """See :class:`PostProcess`."""
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(gamma=self.gamma, factor=self.factor, on=self.on, renorm=self.renorm, **counts)


def _is_box_head(head: nn.Module) -> bool:
    from mmdet.models.roi_heads.bbox_heads import BBoxHead

    return isinstance(head, BBoxHead)


def _classifier(head: nn.Module) -> nn.Module | None:
    """The layer whose outputs are the logits at test time; None where there is none of a known kind."""
    if hasattr(head, 'cls_branches'):  # of each decoder layer, and, in two stages, of what the encoder proposes
        if not head.as_two_stage:
            return head.cls_branches[-1]
        return None if head.cls_branches[-2] is head.cls_branches[-1] else head.cls_branches[-2]
    layer = next((getattr(head, name) for name in CLASSIFIERS if hasattr(head, name)), None)
    is_plain = type(layer) is nn.Linear or not _is_box_head(head)  # box heads can have any classifier
    return layer if is_plain else None
