"""NorCal: calibrate the scores of a trained detector by the class frequencies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .detector_correction import DetectorCorrection

__all__ = ['NorCal', 'norcal_divisor', 'norcal_logits', 'norcal_scores']


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
class NorCal(UsesClassDistribution, DetectorCorrection):
    r"""Lowers the detection scores of frequent classes relative to rare ones.

    For heads with a softmax over classes and background (b), and for heads with one sigmoid per class:

    .. math::
        s_c = \frac{e^{z_c} / a_c}{\sum_k e^{z_k} / a_k + e^{z_b}}, \qquad
        s_c = \frac{p_c / a_c}{p_c / a_c + 1 - p_c}, \qquad a_c = n_c^\gamma

    n is the number of training images per class, read from the checkpoint. Background is left alone. Both are shifts
    of the logits by :math:`-\log a_c`, as is the calibration of Seesaw's scores. Heads: see
    :class:`DetectorCorrection`.

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
        self.needs_sigmoid_or_softmax = renorm
        if factor == 'effective_number':
            self.grid = (0, 0.99, 12)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def forward(self, cls_score: Tensor, activation: Callable[[Tensor], Tensor], uses_sigmoid: bool = False) -> Tensor:
        if self.renorm:
            return super().forward(cls_score, activation, uses_sigmoid)
        return norcal_scores(cls_score, self._divisor().to(cls_score.device), activation, self.on, self.renorm)

    def correct_logits(self, cls_score: Tensor, uses_sigmoid: bool) -> Tensor:
        """See :class:`DetectorCorrection`; the same for softmax and sigmoids."""
        divisor = self._divisor()
        self.check_width(cls_score.size(-1), len(divisor))
        return norcal_logits(cls_score, divisor.to(cls_score.device), self.on)

    def _divisor(self) -> Tensor:
        distribution = self.get_class_distribution()
        return torch.from_numpy(norcal_divisor(distribution.image_counts, self.gamma, self.factor))

    def check(self, head: nn.Module) -> None:
        super().check(head)
        if not self.renorm and not isinstance(head, BBoxHead):
            raise InputTypeError(f'NorCal(renorm=False) calibrates box heads only, but got {type(head).__name__}.')

    def is_shift(self, head: nn.Module) -> bool:
        return self.on != 'logits' and self.renorm

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(gamma=self.gamma, factor=self.factor, on=self.on, renorm=self.renorm, **counts)
