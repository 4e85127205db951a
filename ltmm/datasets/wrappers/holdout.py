"""A validation set split off the training data, for benchmarks without one."""

from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check

from .selection import Selection

__all__ = ['Holdout', 'split_holdout']

PARTS = ('train', 'val')


def split_holdout(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split samples by their labels (N,) into ascending training and validation indices.

    The validation part gets ``per_class`` samples of each class, but at most half of them.
    """
    count = np.bincount(labels)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind='stable')]  # class by class, shuffled within each
    rank = np.empty(len(labels), dtype=np.int64)  # of each sample within its class
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(count) - count, count)
    is_val = rank < np.minimum(per_class, count // 2)[labels]
    return np.flatnonzero(~is_val), np.flatnonzero(is_val)


@DATASETS.register_module()
class Holdout(Selection):
    """One part of a fixed split of the training data into training and validation part.

    Args:
        dataset: Single-label training data, or their config.
        part: ``'train'`` or ``'val'``.
        per_class: Samples of each class in the validation part; a class gives at most half of its samples.
        seed: Seed of the split.
        lazy_init: Load and split on first use.
    """

    def __init__(self, dataset: Any, part: str, per_class: int = 20, seed: int = 0, lazy_init: bool = False) -> None:
        check(part=(part, PARTS), per_class=(per_class, 'int >= 1'))
        self.part, self.per_class, self.seed = part, per_class, seed
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`split_holdout`."""
        return split_holdout(table.labels, self.per_class, self.seed)[PARTS.index(self.part)]
