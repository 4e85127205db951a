"""A validation set split off the training data, for benchmarks without one."""

from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check

from .selection import Selection

__all__ = ['Holdout', 'split_holdout']

PARTS = ('train', 'val')


def split_holdout(labels: np.ndarray, per_class: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split samples by their labels (N,) into ascending training and validation indices.

    The validation part gets ``per_class`` samples of each class, or this share of them, but at most half.
    """
    count = np.bincount(labels)
    wanted = per_class if per_class >= 1 else np.rint(per_class * count)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind='stable')]  # class by class, shuffled within each
    rank = np.empty(len(labels), dtype=np.int64)  # of each sample within its class
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(count) - count, count)
    is_val = rank < np.minimum(wanted, count // 2)[labels]
    return np.flatnonzero(~is_val), np.flatnonzero(is_val)


@DATASETS.register_module()
class Holdout(Selection):
    """One part of a fixed split of the training data into training and validation part.

    Args:
        dataset: Single-label training data, or their config.
        part: ``'train'`` or ``'val'``.
        per_class: Samples of each class in the validation part, the same number of all; or, as a float below 1, the
            share of its samples, so that the part has the class mix of the training data. At most half of them.
        seed: Seed of the split.
        lazy_init: Load and split on first use.
    """

    def __init__(self, dataset: Any, part: str, per_class: float = 20, seed: int = 0, lazy_init: bool = False) -> None:
        check(part=(part, PARTS), per_class=(per_class, 'in (0, 1)' if isinstance(per_class, float) else 'int >= 1'))
        self.part, self.per_class, self.seed = part, per_class, seed
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`split_holdout`."""
        return split_holdout(table.labels, self.per_class, self.seed)[PARTS.index(self.part)]
