"""Sampling by the inverse effective number of samples."""

from collections.abc import Sized
from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import DATA_SAMPLERS

from .base import ClassSampler

__all__ = ['EffectiveNumberSampler', 'effective_number_probability']


def effective_number_probability(counts: np.ndarray, beta: float) -> np.ndarray:
    """Return class probabilities proportional to count / effective number, (C,)."""
    share = counts / np.maximum(ClassDistribution(counts).effective_number(beta), 1)
    return share / share.sum()


@DATA_SAMPLERS.register_module()
class EffectiveNumberSampler(ClassSampler):
    r"""Draws each sample with probability proportional to the inverse effective number of its class.

    .. math:: p_c \propto n_c / E_c, \quad E_c = (1 - \beta^{n_c}) / (1 - \beta)

    Classes much smaller than :math:`1/(1-\beta)` are equally likely, much larger ones are drawn in proportion to their
    size. [1] draws with replacement; here the samples of a class come in shuffled cycles, with the same expectation.

    References:
        [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
        [1] github.com/kaidic/LDAM-DRW @2536330, train rule ``Resample``.

    Args:
        dataset, length, seed, round_up, labels: See :class:`ClassSampler`.
        beta: In [0, 1); 0 is instance-balanced, close to 1 class-balanced.
    """

    def __init__(
        self,
        dataset: Sized,
        beta: float = 0.9999,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        self.beta = beta
        super().__init__(dataset, length, seed, round_up, labels)
        self.warn_if_uniform(
            f'beta={beta:g} gives all classes the same effective number. '
            f'Use beta near 1 - 1 / {self.members.counts.max()}, with the size of the largest class.'
        )

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; the same in all epochs."""
        return effective_number_probability(self.members.counts, self.beta)
