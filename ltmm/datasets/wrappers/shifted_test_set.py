"""Test sets whose classes are not equally frequent: long-tailed like the training data, or the other way round."""

from typing import Any

import numpy as np

from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS

from .long_tailed import long_tailed_counts, select_long_tailed
from .selection import Selection

__all__ = ['ShiftedTestSet']

DIRECTIONS = ('backward', 'forward')


@DATASETS.register_module()
class ShiftedTestSet(Selection):
    """A long-tailed version of a balanced test set, for methods that do not know the distribution they are tested on.

    Forward, the classes that are frequent in training are frequent in the test; backward, they are rare. The counts
    fall exponentially from the images a class has on average.

    [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
        NeurIPS 2022, arXiv 2107.09249.
    [1] github.com/Vanint/SADE-AgnosticLT @cba11b8. The counts are those of [1]; the images are too on CIFAR-LT, where
        [1] draws them by seed 0, but not on ImageNet-LT and Places-LT, for which it has lists of its own.

    Args:
        dataset: the balanced test set, or its config.
        imbalance_factor: images of the most frequent class over those of the least frequent; 50, 25, 10, 5 or 2 in [0].
        direction: ``'forward'`` or ``'backward'``.
        train_dataset: config of the training data, whose counts rank the classes; without it the first class counts as
            the most frequent, as in CIFAR-LT.
        seed: of the choice of images.
        lazy_init: leave reading and choosing to the first use.

    Raises:
        ValueError: an unknown direction, a factor below 1 or so large that a class would keep nothing, or training data
            of other classes.
    """

    def __init__(
        self,
        dataset: Any,
        imbalance_factor: float,
        direction: str,
        train_dataset: dict | None = None,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f'Expected `direction` to be one of {sorted(DIRECTIONS)}, but got {direction!r}.')
        self.imbalance_factor, self.direction, self.seed = imbalance_factor, direction, seed
        self.train_dataset = train_dataset
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`~ltmm.datasets.wrappers.long_tailed.select_long_tailed`."""
        ranked = np.arange(table.num_classes)  # classes, the most frequent in training first
        if self.train_dataset is not None:
            trained = class_distribution_of(self.train_dataset)
            if len(trained) != table.num_classes:
                raise ValueError(
                    f'Expected `train_dataset` to have the {table.num_classes} classes of the test set, '
                    f'but got {len(trained)}.'
                )
            ranked = np.argsort(-trained.image_counts, kind='stable')
        falling = long_tailed_counts(len(table) / table.num_classes, table.num_classes, self.imbalance_factor)
        counts = np.empty_like(falling)
        counts[ranked if self.direction == 'forward' else ranked[::-1]] = falling
        return select_long_tailed(table.labels, counts, self.seed)
