"""Bayias loss: cross entropy that compensates for the priors of both training and test data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['BayiasLoss', 'bayias_offset']


def bayias_offset(log_prior: np.ndarray, test_prior: np.ndarray | None) -> np.ndarray:
    r"""Compute :math:`\log \pi^{train} - \log \pi^{test}`, (C,); None for balanced test data."""
    test_prior = np.full(len(log_prior), 1 / len(log_prior)) if test_prior is None else test_prior / test_prior.sum()
    return log_prior - np.log(test_prior)


@MODELS.register_module()
class BayiasLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy with the logits shifted by both class priors: rare classes get larger margins, frequent smaller.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}(z + \log \pi^{train} - \log \pi^{test})_y

    For balanced test data it equals ``ltmm.BalancedSoftmaxLoss``. Predict with the plain logits. Classes without
    training images are left out of the softmax and get no gradient.

    [0] Xu et al., Towards Calibrated Model for Long-Tailed Visual Recognition from Prior Perspective, NeurIPS 2021,
        arXiv 2111.03874.
    [1] github.com/XuZhengzhuo/Prior-LT @5f2298c. Reproduces [1] to 1e-6 (tests/conformance, ``prior_lt``).

    Args:
        test_prior: Shares or numbers of test images per class, above 0, (C,). Default: balanced.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    def __init__(self, *, test_prior: Sequence[float] | None = None, **kwargs: Any) -> None:
        if test_prior is not None:
            check(test_prior=(test_prior, 'a list of numbers > 0'))
            test_prior = np.asarray(test_prior, dtype=float)
        self.test_prior = test_prior
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        if self.test_prior is not None and len(self.test_prior) != len(distribution):
            raise InputError(f'Expected `test_prior` of {len(distribution)} classes, but got {len(self.test_prior)}.')
        return dict(offset=bayias_offset(distribution.log_prior, self.test_prior))
