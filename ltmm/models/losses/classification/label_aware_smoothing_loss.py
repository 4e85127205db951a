"""Label-aware smoothing (MiSLAS): label smoothing that is stronger for frequent classes."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import ClassPriorLoss

__all__ = ['LabelAwareSmoothingLoss', 'label_aware_smoothing', 'label_aware_smoothing_loss']

SHAPES = {  # from 0 at the rarest to 1 at the most frequent class
    'concave': lambda x: np.sin(np.pi / 2 * x),
    'linear': lambda x: x,
    'convex': lambda x: 1 + np.sin(3 * np.pi / 2 + np.pi / 2 * x),
}


def label_aware_smoothing(
    counts: np.ndarray, smooth_head: float, smooth_tail: float, shape: str, power: float | None = None
) -> np.ndarray:
    r"""Compute :math:`\epsilon_c = \epsilon_t + (\epsilon_h - \epsilon_t) \, g\big((n_c - n_{min}) / (n_{max} -
    n_{min})\big)`, (C,); classes without images get :math:`\epsilon_t`, equally frequent ones :math:`\epsilon_h`.

    Args:
        counts: Training images per class, (C,).
        smooth_head: Smoothing of the most frequent class.
        smooth_tail: Smoothing of the rarest class.
        shape: g: ``'concave'``, ``'linear'``, ``'convex'``, or ``'exp'`` for :math:`x^\mathrm{power}`.
        power: For ``'exp'``.
    """
    lowest, highest = counts[counts > 0].min(), counts.max()
    frequency = (counts - lowest).clip(min=0) / (highest - lowest) if highest > lowest else (counts > 0).astype(float)
    share = frequency**power if shape == 'exp' else SHAPES[shape](frequency)
    return smooth_tail + (smooth_head - smooth_tail) * share


def label_aware_smoothing_loss(cls_score: Tensor, label: Tensor, smoothing: Tensor) -> Tensor:
    r"""Compute :math:`(1 - \epsilon_y) (-\log p_y) + \frac{\epsilon_y}{C} \sum_c -\log p_c` per sample, (N,).

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,), or soft labels, (N, C), for the sum of the losses of their classes.
        smoothing: epsilon, (C,).
    """
    losses = -cls_score.log_softmax(1)  # (N, C)
    if label.dim() == 1:
        rate = smoothing[label]  # (N,)
        return (1 - rate) * losses.gather(1, label.unsqueeze(1)).squeeze(1) + rate * losses.mean(1)
    return (label * (1 - smoothing) * losses).sum(1) + (label * smoothing).sum(1) * losses.mean(1)


@MODELS.register_module()
class LabelAwareSmoothingLoss(ClassPriorLoss):
    r"""Cross entropy that lowers the confidence in frequent classes, by label smoothing that grows with the frequency.

    .. math:: \ell(z, y) = -(1 - \epsilon_y) \log p_y - \frac{\epsilon_y}{C} \sum_c \log p_c

    with :math:`p = \mathrm{softmax}(z)` and :math:`\epsilon` from :func:`label_aware_smoothing`. [0] gives all of
    :math:`\epsilon_y` to the other classes: this is the same loss with :math:`\epsilon_y C / (C - 1)` here. With one
    class the loss is 0.

    [0] Zhong et al., Improving Calibration for Long-Tailed Recognition, CVPR 2021, arXiv 2104.00466.
    [1] github.com/dvlab-research/MiSLAS @0fc381e. Reproduces [1] to 1e-6 (tests/conformance, ``label_aware_smoothing``
        and ``trajectory_mislas``).

    Args:
        smooth_head: Smoothing of the most frequent class, in [0, 1).
        smooth_tail: Smoothing of the rarest class, in [0, 1).
        shape: How it grows in between, see :func:`label_aware_smoothing`.
        power: For ``shape='exp'``.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    accepts_soft_labels = True

    def __init__(
        self,
        *,
        smooth_head: float,
        smooth_tail: float,
        shape: str = 'concave',
        power: float | None = None,
        **kwargs: Any,
    ) -> None:
        check(smooth_head=(smooth_head, 'in [0, 1)'), smooth_tail=(smooth_tail, 'in [0, 1)'))
        check(shape=(shape, (*SHAPES, 'exp')), power=(power, '> 0 or None'))
        if (power is not None) != (shape == 'exp'):
            raise InputError(f"`power` belongs to shape='exp', but got {shape=}, {power=}.")
        self.smooth_head, self.smooth_tail, self.shape, self.power = smooth_head, smooth_tail, shape, power
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        rates = self.smooth_head, self.smooth_tail, self.shape, self.power
        self.register_derived('smoothing', label_aware_smoothing(distribution.instance_counts, *rates))

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return label_aware_smoothing_loss(cls_score, label, self.smoothing.to(cls_score))

    def extra_repr(self) -> str:
        rates = f'smooth_head={self.smooth_head}, smooth_tail={self.smooth_tail}, shape={self.shape!r}'
        return f'{rates}, {super().extra_repr()}'
