"""Sampling by the inverse effective number of samples."""

from collections.abc import Sized

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import DATA_SAMPLERS

from .base import ClassSampler

__all__ = ['EffectiveNumberSampler', 'effective_number_probability']


def effective_number_probability(counts: np.ndarray, beta: float) -> np.ndarray:
    """Class probabilities proportional to the count over the effective number, (C,); 0 where the count is 0.

    Args:
        counts: samples per class, (C,).
        beta: in [0, 1).
    """
    share = counts / np.maximum(ClassDistribution(counts).effective_number(beta), 1)
    return share / share.sum()


@DATA_SAMPLERS.register_module()
class EffectiveNumberSampler(ClassSampler):
    r"""Draws a sample by the inverse effective number of its class: nearly instance-balanced where classes are large.

    .. math:: p_c \propto n_c / E_c, \quad E_c = (1 - \beta^{n_c}) / (1 - \beta)

    Classes far smaller than :math:`1/(1-\beta)` are drawn equally often, far larger ones in proportion to their size.
    [1] draws with replacement; here the samples of a class come in shuffled cycles, with the same expectation.

    [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
    [1] github.com/kaidic/LDAM-DRW @2536330, train rule ``Resample``.

    Args:
        dataset: see :class:`ClassSampler`.
        beta: in [0, 1); 0 is instance-balanced, close to 1 class-balanced.
        length: draws per epoch, over all ranks; as many as the dataset has samples when left out.
        seed: see :class:`ClassSampler`.
        round_up: see :class:`ClassSampler`.

    Raises:
        ValueError: ``beta`` outside [0, 1).
    """

    def __init__(
        self,
        dataset: Sized,
        beta: float = 0.9999,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        self.beta = beta
        super().__init__(dataset, length, seed, round_up)
        self.warn_if_plain(
            f'with beta={beta:g} no class has a larger effective number than another. '
            f'Take beta near 1 - 1 / {self.members.counts.max()}, one over the size of the largest class.'
        )

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; the same in all epochs."""
        return effective_number_probability(self.members.counts, self.beta)
