"""Sampling by a power of the class counts: instance, square-root, class-balanced and reversed sampling in one."""

from collections.abc import Sized

import numpy as np

from ltmm.registry import DATA_SAMPLERS

from .base import ClassSampler

__all__ = ['PowerSampler', 'power_probability']


def power_probability(counts: np.ndarray, power: float) -> np.ndarray:
    """Class probabilities proportional to ``counts ** power``, (C,); 0 where the count is 0.

    Args:
        counts: samples per class, (C,).
        power: any finite number.
    """
    occurs = counts > 0
    exponent = power * np.log(np.maximum(counts, 1))
    share = np.where(occurs, np.exp(exponent - exponent[occurs].max()), 0.0)
    return share / share.sum()


@DATA_SAMPLERS.register_module()
class PowerSampler(ClassSampler):
    r"""Draws classes in proportion to a power of their size: the smaller the power, the more of the tail.

    .. math:: p_c = n_c^q / \sum_k n_k^q

    ===== =================================================================
    power sampling
    ===== =================================================================
    1     instance-balanced: every sample equally likely, as plain shuffling
    0.5   square-root
    0     class-balanced: every class equally likely
    -1    reversed, the sampler of BBN's second branch: the tail most often
    ===== =================================================================

    The number of draws per class is random (multinomial); within a class the samples come in shuffled cycles, where
    [1]'s MixedPrioritizedSampler draws with replacement: the same expectation, with fewer repeats of a tail sample.

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217;
        power=-1: Zhou et al., BBN, CVPR 2020, arXiv 1912.02413.
    [1] github.com/facebookresearch/classifier-balancing @f162ade.

    Args:
        dataset: see :class:`ClassSampler`.
        power: q, any finite number.
        length: draws per epoch, over all ranks; as many as the dataset has samples when left out.
        seed: see :class:`ClassSampler`.
        round_up: see :class:`ClassSampler`.

    Raises:
        ValueError: ``power`` is not finite.
    """

    def __init__(
        self,
        dataset: Sized,
        power: float,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        if not np.isfinite(power):
            raise ValueError(f'Expected `power` to be a finite number, but got {power}.')
        self.power = power
        super().__init__(dataset, length, seed, round_up)
        self.warn_if_plain(
            'power=1 is instance-balanced sampling; below 1 the tail is drawn more often.'
            if power == 1
            else 'all classes have equally many samples.'
        )

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; the same in all epochs."""
        return power_probability(self.members.counts, self.power)
