"""Test sets with another class distribution than the training set: long-tailed, or long-tailed in reverse."""

from typing import Any

import numpy as np

from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .long_tailed import long_tailed_counts, select_long_tailed
from .selection import Selection

__all__ = ['ShiftedTestSet']


@DATASETS.register_module()
class ShiftedTestSet(Selection):
    """A long-tailed version of a balanced test set, for test-agnostic evaluation.

    The class counts fall exponentially from the mean number of images per class, from the most to the least frequent
    class of the training set (forward) or the other way round (backward).

    References:
        [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
            NeurIPS 2022, arXiv 2107.09249.
        [1] github.com/Vanint/SADE-AgnosticLT @cba11b8. The counts are those of [1]. So are the images of CIFAR-LT; for
            ImageNet-LT and Places-LT [1] has image lists of its own.

    Args:
        dataset: The balanced test set, or its config.
        imbalance_factor: Images of the most over those of the least frequent class; 50, 25, 10, 5 or 2 in [0].
        direction: ``'forward'`` or ``'backward'``.
        train_dataset: Config of the training data, which rank the classes. Default: class 0 is the most frequent, as
            in CIFAR-LT.
        seed: Seed of the selection.
        lazy_init: Load and select on first use.
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
        check(direction=(direction, ('backward', 'forward')))
        self.imbalance_factor, self.direction, self.seed = imbalance_factor, direction, seed
        self.train_dataset = train_dataset
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`~ltmm.datasets.wrappers.long_tailed.select_long_tailed`."""
        ranked = np.arange(table.num_classes)  # classes, the most frequent in training first
        if self.train_dataset is not None:
            train = class_distribution_of(self.train_dataset)
            if len(train) != table.num_classes:
                raise InputError(f'The test set has {table.num_classes} classes, but `train_dataset` {len(train)}.')
            ranked = np.argsort(-train.image_counts, kind='stable')
        falling = long_tailed_counts(len(table) / table.num_classes, table.num_classes, self.imbalance_factor)
        counts = np.empty_like(falling)
        counts[ranked if self.direction == 'forward' else ranked[::-1]] = falling
        return select_long_tailed(table.labels, counts, self.seed)
