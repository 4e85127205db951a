"""A validation set out of the training data, where a benchmark has none."""

from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS

from .selection import Selection

__all__ = ['Holdout', 'split_holdout']

PARTS = ('train', 'val')


def split_holdout(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the samples to train on and of those to validate on, both ascending.

    Args:
        labels: class of each sample, (N,).
        per_class: samples of each class to validate on; a class gives no more than half of its own.
        seed: of the choice.
    """
    count = np.bincount(labels)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind='stable')]  # class after class, shuffled within each
    place = np.empty(len(labels), dtype=np.int64)  # of each sample within its class
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(count) - count, count)
    is_held_out = place < np.minimum(per_class, count // 2)[labels]
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


@DATASETS.register_module()
class Holdout(Selection):
    """Splits the training data, the same way every time: one part to train on, the other to choose strengths by.

    Each class gives ``per_class`` samples to the validation part, but at most half of its own, so that the tail stays
    in the training part; a class with one sample gives none.

    Args:
        dataset: training data with one label a sample, or their config.
        part: ``'train'`` or ``'val'``.
        per_class: samples of each class in the validation part.
        seed: of the choice.
        lazy_init: leave reading and choosing to the first use.

    Raises:
        ValueError: an unknown part, ``per_class`` below 1, or samples with several labels.
    """

    def __init__(self, dataset: Any, part: str, per_class: int = 20, seed: int = 0, lazy_init: bool = False) -> None:
        if part not in PARTS:
            raise ValueError(f'Expected `part` to be one of {list(PARTS)}, but got {part!r}.')
        if per_class < 1:
            raise ValueError(f'Expected `per_class` to be at least 1, but got {per_class}.')
        self.part, self.per_class, self.seed = part, per_class, seed
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`split_holdout`."""
        return split_holdout(table.labels, self.per_class, self.seed)[PARTS.index(self.part)]
