"""Sampling by a power of the class counts: instance-balanced, square-root, class-balanced and reversed sampling."""

from collections.abc import Sized
from typing import Any

import numpy as np

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check

from .base import ClassSampler

__all__ = ['PowerSampler', 'power_probability']


def power_probability(counts: np.ndarray, power: float) -> np.ndarray:
    """Return class probabilities proportional to ``counts ** power``, (C,); 0 where the count is 0."""
    occurs = counts > 0
    exponent = power * np.log(np.maximum(counts, 1))
    share = np.where(occurs, np.exp(exponent - exponent[occurs].max()), 0.0)
    return share / share.sum()


@DATA_SAMPLERS.register_module()
class PowerSampler(ClassSampler):
    r"""Draws classes in proportion to a power of their size: the smaller the power, the more often rare classes.

    .. math:: p_c = n_c^q / \sum_k n_k^q

    ===== =====================================================================
    power sampling
    ===== =====================================================================
    1     instance-balanced: every sample equally likely, as in plain shuffling
    0.5   square-root
    0     class-balanced: every class equally likely
    -1    reversed, as in BBN's second branch: rare classes most often
    ===== =====================================================================

    The number of draws per class is random (multinomial). The samples of a class come in shuffled cycles; [1] draws
    them with replacement, with the same expectation but more repeats.

    References:
        [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
            arXiv 1910.09217; power=-1: Zhou et al., BBN, CVPR 2020, arXiv 1912.02413.
        [1] github.com/facebookresearch/classifier-balancing @f162ade, MixedPrioritizedSampler.

    Args:
        dataset, length, seed, round_up, labels: See :class:`ClassSampler`.
        power: q, any finite number.
    """

    @classmethod
    def balances_classes(cls, power: float, **settings: Any) -> bool:
        return power < 1

    def __init__(
        self,
        dataset: Sized,
        power: float,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        check(power=(power, 'finite'))
        self.power = power
        super().__init__(dataset, length, seed, round_up, labels)
        self.warn_if_uniform(
            'power=1 is instance-balanced; use a power below 1 to draw rare classes more often.'
            if power == 1
            else 'all classes have the same number of samples.'
        )

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; the same in all epochs."""
        return power_probability(self.members.counts, self.power)
