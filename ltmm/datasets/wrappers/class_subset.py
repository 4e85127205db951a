"""The many-, medium- or few-shot classes of a dataset, as a dataset of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.datasets.labels.label_table import LabelTable, class_distribution_of
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.shots import SHOT_NAMES, check_thresholds, group_classes

from .selection import Selection

__all__ = ['ClassSubset']


@DATASETS.register_module()
class ClassSubset(Selection):
    """The images of the many-, medium- or few-shot classes, with new labels 0, 1, ... in the order of the old ones.

    Args:
        dataset: Single-label data, or their config.
        group: ``'many'``, ``'medium'`` or ``'few'``.
        counts_of: Training data, or their config, whose class counts form the groups; for validation and test sets.
            Default: ``dataset``.
        thresholds: Least number of images of a many-shot class, largest of a few-shot class; or quantiles, ranks or
            ``'auto'``, see :func:`ltmm.utils.shots.group_classes`.
        lazy_init: Load and select on first use.
    """

    def __init__(
        self,
        dataset: Any,
        group: str,
        counts_of: Any = None,
        thresholds: Sequence[int] | dict | str = (100, 20),
        lazy_init: bool = False,
    ) -> None:
        check(group=(group, SHOT_NAMES))
        check_thresholds(thresholds)
        self.group, self.counts_of, self.thresholds = group, counts_of, thresholds
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """Find the classes of the group, and their samples."""
        distribution = class_distribution_of(self.dataset if self.counts_of is None else self.counts_of)
        if len(distribution) != table.num_classes:
            raise InputError(
                f'ClassSubset: expected `counts_of` to have {table.num_classes} classes, but got {len(distribution)}.'
            )
        shots = group_classes(distribution.image_counts, self.thresholds, many_inclusive=True, few_inclusive=True)
        self._mask = dict(shots.items())[self.group]  # (C,)
        if not self._mask.any():
            raise InputError(f'ClassSubset: there is no {self.group}-shot class by thresholds={self.thresholds}.')
        return np.flatnonzero(self._mask[table.labels])

    def full_init(self) -> None:
        """Load the inner dataset, select the samples and give them their new labels."""
        if self._fully_initialized:
            return
        super().full_init()
        self._new_label = np.cumsum(self._mask) - 1  # (C,)
        names = self._table.class_names
        self._table = replace(
            self._table,
            labels=self._new_label[self._table.labels],
            num_classes=int(self._mask.sum()),
            class_names=names and tuple(np.array(names)[self._mask].tolist()),
        )

    @property
    @force_full_init
    def classes(self) -> np.ndarray:
        """Labels of the classes in the inner dataset, ascending."""
        return np.flatnonzero(self._mask)

    @property
    def metainfo(self) -> dict:
        """Meta information of the inner dataset, with the names of the classes of the group."""
        metainfo = super().metainfo
        if metainfo.get('classes'):
            metainfo['classes'] = [metainfo['classes'][label] for label in self.classes]
        return metainfo

    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx`` with its new label."""
        record = super().get_data_info(idx)
        return record | dict(gt_label=int(self._new_label[record['gt_label']]))

    def __getitem__(self, idx: int) -> dict:
        item = super().__getitem__(idx)
        sample = item['data_samples']
        sample.set_gt_label(int(self._new_label[int(sample.gt_label)]))
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Return a batch."""
        return [self[index] for index in indices]
