"""A random part of any data."""

from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check

from .selection import Selection

__all__ = ['RandomSubset']


@DATASETS.register_module()
class RandomSubset(Selection):
    """A random part of the images, in their order, whatever their labels.

    Args:
        dataset: The dataset, or its config.
        num_images: Images of the part; a smaller dataset is kept whole.
        seed: Seed of the choice.
        lazy_init: Load and select on first use.
    """

    one_label_per_image = False

    def __init__(self, dataset: Any, num_images: int, seed: int = 0, lazy_init: bool = False) -> None:
        check(num_images=(num_images, 'int >= 1'))
        self.num_images, self.seed = num_images, seed
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        total = len(table)
        return np.sort(np.random.default_rng(self.seed).choice(total, min(self.num_images, total), replace=False))
