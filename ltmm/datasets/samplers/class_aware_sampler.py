"""Class-aware sampling: every class in turn, a few samples of each."""

from collections.abc import Sized
from typing import Any

import numpy as np

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import ClassSampler

__all__ = ['ClassAwareSampler']


@DATA_SAMPLERS.register_module()
class ClassAwareSampler(ClassSampler):
    """Draws all classes in turn, a few samples each, so that all classes are equally frequent.

    The classes come in shuffled cycles; each time, a class yields the next ``num_samples_per_class`` samples of its own
    shuffled cycle. [1] continues its cycles across epochs; here every epoch starts new ones, so that it does not depend
    on earlier epochs.

    References:
        [0] Shen et al., Relay Backpropagation, ECCV 2016, arXiv 1512.05830; Kang et al., Decoupling Representation and
            Classifier, ICLR 2020, arXiv 1910.09217.
        [1] github.com/facebookresearch/classifier-balancing @f162ade, ClassAwareSampler. For multi-label data
            github.com/wutong16/DistributionBalancedLoss @14460d0, with 3 samples in a row and ``reduce=4``.

    Args:
        dataset, seed, round_up, labels: See :class:`ClassSampler`. Every class needs a sample.
        num_samples_per_class: Consecutive samples of one class.
        length: Draws per epoch, over all ranks: ``'dataset'`` for the size of the dataset, ``'max'`` for C times the
            size of the largest class as in [1], or a number.
        reduce: Divisor of the length ``'max'``.
    """

    def __init__(
        self,
        dataset: Sized,
        num_samples_per_class: int = 4,
        length: int | str = 'dataset',
        reduce: int = 1,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        check(num_samples_per_class=(num_samples_per_class, 'int >= 1'), reduce=(reduce, 'int >= 1'))
        if isinstance(length, str):
            check(length=(length, ('dataset', 'max')))
        if reduce > 1 and length != 'max':
            raise InputError(f"`reduce` needs length='max', but got reduce={reduce} and length={length!r}.")
        self.num_samples_per_class, self.reduce = num_samples_per_class, reduce
        self.use_max_length = length == 'max'
        super().__init__(dataset, None if isinstance(length, str) else length, seed, round_up, labels)
        distribution = self.table.class_distribution()
        empty = distribution.empty_classes
        if len(empty):
            names = ', '.join(map(distribution.name_of, empty[:5])) + ', ...' * (len(empty) > 5)
            raise InputError(
                f'ClassAwareSampler: {len(empty)} of {len(distribution)} classes have no sample: {names}. Remove them '
                "from metainfo['classes'], or use ltmm.PowerSampler with power=0."
            )
        self.warn_if_uniform('all classes have the same number of samples.')

    def default_length(self) -> int:
        """See the argument ``length``."""
        if not self.use_max_length:
            return super().default_length()
        counts = self.members.counts
        return int(counts.max()) * len(counts) // self.reduce

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`; 1/C for all classes."""
        return np.full(self.table.num_classes, 1 / self.table.num_classes)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """See :class:`LongTailSampler`."""
        num_classes, in_a_row = self.table.num_classes, self.num_samples_per_class
        num_visits = -(-self.length // (num_classes * in_a_row))  # V, of each class
        classes = rng.permuted(np.tile(np.arange(num_classes), (num_visits, 1)), axis=1)  # (V, C)
        samples = self.members.cycles(num_visits * in_a_row, rng).reshape(num_classes, num_visits, in_a_row)
        return samples[classes, np.arange(num_visits)[:, None]].ravel()[: self.length]  # (V, C, in_a_row) -> (length,)
