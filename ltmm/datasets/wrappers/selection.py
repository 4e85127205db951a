"""Base class for datasets that keep a part of another dataset."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

__all__ = ['Selection']


class Selection(ABC):
    """Base class for a fixed part of a dataset, the same on every rank and in every run.

    Subclasses for data with several labels per image, or boxes, set ``one_label_per_image = False``.

    Args:
        dataset: The dataset, or its config.
        lazy_init: Load and select on first use.
    """

    one_label_per_image = True

    def __init__(self, dataset: Any, lazy_init: bool = False) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @abstractmethod
    def choose(self, table: LabelTable) -> np.ndarray:
        """Return the indices of the samples to keep, in their new order, from the labels of the inner dataset."""

    @property
    def metainfo(self) -> dict:
        """Meta information of the inner dataset."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Load the inner dataset and select the samples."""
        if self._fully_initialized:
            return
        table = LabelTable.from_dataset(self.dataset)
        if self.one_label_per_image and not table.is_single_label:
            raise InputError(
                f'{type(self).__name__} needs one label per image, but {type(self.dataset).__name__} has '
                f'{len(table.labels)} labels on {len(table)} images.'
            )
        self.indices = self.choose(table)
        self._table = table.take(self.indices)
        self._fully_initialized = True

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return the labels of the selected samples."""
        return self._table

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return the labels of the selected samples, (N,); of all their objects, (M,), in detection."""
        return self._table.labels

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of sample ``idx``."""
        return self._table.labels[slice(*self._table.offsets[idx : idx + 2])].tolist()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``; its ``sample_idx`` is the index in the inner dataset."""
        return self.dataset.get_data_info(int(self.indices[idx]))

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        return self.dataset[int(self.indices[idx])]

    @force_full_init
    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return a batch, in one call if the inner dataset has ``__getitems__`` (an optional method in PyTorch)."""
        rows = self.indices[indices].tolist()
        if hasattr(self.dataset, '__getitems__'):
            return self.dataset.__getitems__(rows)
        return [self.dataset[row] for row in rows]

    @force_full_init
    def __len__(self) -> int:
        return len(self.indices)
