"""LDAM: label-distribution-aware margins, larger for rarer classes."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import CosineLoss
from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['LDAMLoss', 'ldam_margins']


def ldam_margins(counts: np.ndarray, max_margin: float) -> np.ndarray:
    r"""Compute margins :math:`\propto n_c^{-1/4}` from the counts, (C,), at most ``max_margin``; 0 for a count of 0."""
    margins = np.where(counts > 0, np.maximum(counts, 1) ** -0.25, 0)
    return margins * (max_margin / margins.max())


@MODELS.register_module()
class LDAMLoss(CosineLoss, AdjustedCrossEntropyLoss):
    r"""Requires a larger margin of tail classes than of head classes, in cosines.

    .. math::
        \ell(z, y) = -\log \mathrm{softmax}\big(s \, (z - m_y \, \mathrm{onehot}(y))\big)_y, \qquad
        m_c \propto n_c^{-1/4}, \quad \max_c m_c = m_{\max}

    The logits must be plain cosines, from ``classifier=dict(type='ltmm.NormedLinear')``: the scale s is in the loss.
    ``ltmm.LongTailClsHead`` multiplies its predictions by it. Classes without training images stay in the softmax, with
    margin 0. LDAM-DRW is this loss in ``ltmm.DeferredReweighting``.

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330. Reproduces [1] to 1e-6 (tests/conformance, ``ldam``).

    Args:
        max_margin: m_max.
        scale: s.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    balances_classes = False  # its margins alone leave a bias, which DRW removes

    def __init__(self, *, max_margin: float = 0.5, scale: float = 30.0, **kwargs: Any) -> None:
        check(max_margin=(max_margin, '> 0'), scale=(scale, '> 0'))
        self.max_margin, self.scale = max_margin, scale
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        return dict(margin=ldam_margins(distribution.instance_counts, self.max_margin))

    def extra_repr(self) -> str:
        return f'max_margin={self.max_margin}, scale={self.scale}, {super().extra_repr()}'
