"""Open test sets: images of unknown classes beside those of the training classes."""

import copy
from typing import Any

from mmengine.dataset import force_full_init

from ltmm.registry import DATASETS

__all__ = ['OpenSet']


@DATASETS.register_module()
class OpenSet:
    """A test set followed by a dataset of other classes, whose labels become -1; for ``ltmm.OpenSetMetric``.

    Args:
        dataset: Test set of the training classes, or its config.
        unknown: Dataset of other classes, or its config, with or without labels.
        lazy_init: Read the datasets when they are first used.
    """

    def __init__(self, dataset: Any, unknown: Any, lazy_init: bool = False) -> None:
        self.dataset, self.unknown = (DATASETS.build(d) if isinstance(d, dict) else d for d in (dataset, unknown))
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the test set."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Read both datasets."""
        self.dataset.full_init()
        self.unknown.full_init()
        self._fully_initialized = True

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        if idx < len(self.dataset):
            return self.dataset[idx]
        item = self.unknown[idx - len(self.dataset)]
        item['data_samples'].set_gt_label(-1)
        return item

    @force_full_init
    def __len__(self) -> int:
        return len(self.dataset) + len(self.unknown)
