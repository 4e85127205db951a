"""Class-dependent temperatures: train with smaller logits for tail classes."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['CDTLoss', 'cdt_divisor']


def cdt_divisor(counts: np.ndarray, gamma: float) -> np.ndarray:
    r"""Compute :math:`(n_{\max} / n_c)^\gamma` from the counts, (C,); 1 where the count is 0."""
    return np.where(counts > 0, counts.max() / np.maximum(counts, 1), 1.0) ** gamma


@MODELS.register_module()
class CDTLoss(AdjustedCrossEntropyLoss):
    r"""Divides the logits of tail classes in training, so that their features grow as large as those of head classes.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}(z / \Delta)_y, \qquad \Delta_c = (n_{\max} / n_c)^\gamma

    This is multiplicative logit adjustment (Menon et al., ICLR 2021) in training. Predict with the plain logits.
    Classes without training images are left out of the softmax and get no gradient.

    [0] Ye et al., Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning, arXiv 2001.01385.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a. Reproduces [1] to 1e-6 (tests/conformance,
        ``reweight_bagoftricks``).

    Args:
        gamma: Strength; 0.2 for CIFAR-LT in [1].
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    def __init__(self, *, gamma: float = 0.2, **kwargs: Any) -> None:
        check(gamma=(gamma, '>= 0'))
        self.gamma = gamma
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        counts = distribution.instance_counts
        return dict(divisor=cdt_divisor(counts, self.gamma), offset=np.where(counts > 0, 0.0, -np.inf))

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, {super().extra_repr()}'
