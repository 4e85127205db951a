"""LDAM: margins that grow as classes get smaller."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['LDAMLoss', 'ldam_margins']


def ldam_margins(counts: np.ndarray, max_margin: float) -> np.ndarray:
    r""":math:`n_c^{-1/4}`, scaled so that the largest is ``max_margin``, (C,); 0 where the count is 0.

    Args:
        counts: training samples per class, (C,).
        max_margin: margin of the rarest class that occurs.
    """
    margins = np.where(counts > 0, np.maximum(counts, 1) ** -0.25, 0)
    return margins * (max_margin / margins.max())


@MODELS.register_module()
class LDAMLoss(AdjustedCrossEntropyLoss):
    r"""Asks the tail to win by a larger margin than the head, in cosines.

    .. math::
        \ell(z, y) = -\log \mathrm{softmax}\big(s \, (z - m_y \, \mathrm{onehot}(y))\big)_y, \qquad
        m_c \propto n_c^{-1/4}, \quad \max_c m_c = m_{\max}

    The logits have to be plain cosines, from ``classifier=dict(type='ltmm.NormedLinear')``: the scale s is in the loss.
    ``ltmm.LongTailClsHead`` multiplies its predictions by it, so that their softmax is the one that was trained.
    A class without training samples stays in the softmax, with margin 0. Soft labels weigh the losses of the classes.
    LDAM-DRW is this loss in ``ltmm.DeferredReweighting``.

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330. Equal to [1] on its own numbers (tests/conformance, ``ldam``).

    Args:
        max_margin: m_max, positive.
        scale: s, positive.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.base.ClassPriorLoss`.

    Raises:
        ValueError: ``max_margin`` or ``scale`` is not positive; in a head whose cosine layer has a scale of its own.
        TypeError: in a head without a cosine layer.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    needs_cosine = True

    def __init__(self, max_margin: float = 0.5, scale: float = 30.0, **kwargs: Any) -> None:
        for name, value in (('max_margin', max_margin), ('scale', scale)):
            if not 0 < value < float('inf'):
                raise ValueError(f'Expected `{name}` to be positive, but got {value}.')
        self.max_margin, self.scale = max_margin, scale
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """See :class:`AdjustedCrossEntropyLoss`."""
        return dict(margin=ldam_margins(distribution.instance_counts, self.max_margin))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'max_margin={self.max_margin}, scale={self.scale}, {super().extra_repr()}'
