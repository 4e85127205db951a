"""Class-dependent temperatures: the tail is trained with smaller logits than it is tested with."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['CDTLoss', 'cdt_divisor']


def cdt_divisor(counts: np.ndarray, gamma: float) -> np.ndarray:
    r""":math:`(n_{\max} / n_c)^\gamma`, (C,); 1 where the count is 0.

    Args:
        counts: training samples per class, (C,).
        gamma: strength.
    """
    return np.where(counts > 0, counts.max() / np.maximum(counts, 1), 1.0) ** gamma


@MODELS.register_module()
class CDTLoss(AdjustedCrossEntropyLoss):
    r"""Divides the logits of tail classes while training, so that their features do not stay behind the head's.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}(z / \Delta)_y, \qquad \Delta_c = (n_{\max} / n_c)^\gamma

    This is multiplicative logit adjustment by the class frequencies (Menon et al., ICLR 2021), done in training, where
    negative logits do no harm. Predict with the plain logits. A class without training samples has no part in the
    softmax and gets no gradient.

    [0] Ye et al., Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, arXiv 2001.01385.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a. Equal to [1] on its own numbers (tests/conformance,
        ``reweight_bagoftricks``).

    Args:
        gamma: strength, at least 0; 0.2 for CIFAR-LT in [1].
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.base.ClassPriorLoss`.

    Raises:
        ValueError: ``gamma`` is negative.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    def __init__(self, gamma: float, **kwargs: Any) -> None:
        if not 0 <= gamma < float('inf'):
            raise ValueError(f'Expected `gamma` to be at least 0, but got {gamma}.')
        self.gamma = gamma
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """See :class:`AdjustedCrossEntropyLoss`."""
        counts = distribution.instance_counts
        return dict(divisor=cdt_divisor(counts, self.gamma), offset=np.where(counts > 0, 0.0, -np.inf))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, {super().extra_repr()}'
