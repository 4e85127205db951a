"""Class-aware sampling: all classes in turn, a few samples of each."""

from collections.abc import Sized

import numpy as np

from ltmm.registry import DATA_SAMPLERS

from .base import ClassSampler, check_count

__all__ = ['ClassAwareSampler']


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(ClassSampler):
    """Visits all classes in turn and takes a few samples of each, so that head and tail are seen equally often.

    The classes come in shuffled cycles; every visit takes the next ``num_samples_per_class`` samples from the shuffled
    cycle of the class, one after another. A class has its samples repeated only when all of them have been drawn. In
    multi-label data a sample is in the cycle of each of its classes.

    [1] walks through endless cycles, which epochs cut anywhere; here the cycles start anew with every epoch, so that an
    epoch depends on nothing before it. Several processes share one order: samples in a row go to different ranks.

    [0] Shen et al., Relay Backpropagation, ECCV 2016, arXiv 1512.05830; Kang et al., Decoupling Representation and
        Classifier, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, ClassAwareSampler; the same with several labels an
        image: github.com/wutong16/DistributionBalancedLoss @14460d0, which takes 3 samples in a row and reduces by 4.

    Args:
        dataset: see :class:`ClassSampler`.
        num_samples_per_class: samples of a class in a row.
        length: draws per epoch, over all ranks: ``'dataset'`` for as many as the dataset has samples, ``'max'`` for C
            times the size of the largest class, as [1] has it, or a number.
        reduce: what the length ``'max'`` is divided by, rounded down.
        seed: see :class:`ClassSampler`.
        round_up: see :class:`ClassSampler`.

    Raises:
        ValueError: a class without samples, ``num_samples_per_class`` or ``reduce`` below 1, an unknown ``length``,
            ``reduce`` with another length than ``'max'``, or one that leaves nothing of it.
    """

    def __init__(
        self,
        dataset: Sized,
        num_samples_per_class: int = 4,
        length: int | str = 'dataset',
        reduce: int = 1,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        check_count('num_samples_per_class', num_samples_per_class)
        if isinstance(length, str) and length not in ('dataset', 'max'):
            raise ValueError(f"Expected `length` to be 'dataset', 'max' or a number, but got {length!r}.")
        check_count('reduce', reduce)
        if reduce > 1 and length != 'max':
            raise ValueError(f"Expected `reduce` to go with length='max', but got reduce={reduce}, length={length!r}.")
        self.num_samples_per_class, self.reduce = num_samples_per_class, reduce
        self._max_length = length == 'max'
        super().__init__(dataset, None if isinstance(length, str) else length, seed, round_up)
        self._check_no_empty_class()
        self.warn_if_plain('all classes have equally many samples.')

    def default_length(self) -> int:
        """See the argument ``length``."""
        if not self._max_length:
            return super().default_length()
        counts = self.members.counts
        longest = int(counts.max()) * len(counts)
        if longest < self.reduce:
            raise ValueError(f"Expected `reduce` to be at most {longest}, the length 'max', but got {self.reduce}.")
        return longest // self.reduce

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; the same for all classes."""
        num_classes = self.table.num_classes
        return np.full(num_classes, 1 / num_classes)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """See the class."""
        num_classes, in_a_row = self.table.num_classes, self.num_samples_per_class
        num_visits = -(-self.length // (num_classes * in_a_row))  # V, of each class
        classes = rng.permuted(np.tile(np.arange(num_classes), (num_visits, 1)), axis=1)  # (V, C)
        samples = self.members.cycles(num_visits * in_a_row, rng).reshape(num_classes, num_visits, in_a_row)
        return samples[classes, np.arange(num_visits)[:, None]].ravel()[: self.length]  # (V, C, in_a_row) -> (length,)

    def _check_no_empty_class(self) -> None:
        distribution = self.table.class_distribution()
        empty = distribution.empty_classes
        if len(empty):
            names = ', '.join(distribution.name_of(c) for c in empty[:5]) + (', ...' if len(empty) > 5 else '')
            raise ValueError(
                f'ClassAwareSampler: expected every class to have a sample, but {len(empty)} of '
                f"{len(distribution)} have none: {names}. Take them out of the dataset's metainfo['classes'], or use "
                "type='ltmm.PowerSampler', power=0, which balances the classes that occur."
            )
