"""Labeled and unlabeled images in one dataset."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.dataset import default_collate, force_full_init
from mmengine.logging import print_log

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.images import base_datasets
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS, FUNCTIONS
from ltmm.utils.errors import InputError, InputTypeError

from .semi_split import PARTS, SemiSplit

__all__ = ['SemiSupervised', 'semi_supervised_collate']


@DATASETS.register_module()
class SemiSupervised:
    """Labeled images followed by unlabeled ones, whose labels are hidden from everything that trains.

    Class counts, and with them all long-tailed parts, are those of the labeled images. A sample of the unlabeled part
    carries no label; what its dataset knows of them stays in :attr:`true_labels`, for reports. Transforms do not see it
    either, except where the unlabeled part concatenates datasets. ``sample_idx`` is the index in this dataset. Both
    parts have their own pipelines; that of the unlabeled part makes the weak view first, then the strong ones, by
    ``MultiView``.

    Args:
        labeled: Images with one label each, or their config.
        unlabeled: Images with or without labels, or their config. Where it has ``also_labeled``, as
            ``ltmm.SemiSplit``, its samples tell whether the image is a labeled one too.
        lazy_init: Load both on first use.
    """

    def __init__(self, labeled: Any, unlabeled: Any, lazy_init: bool = False) -> None:
        self.datasets = [DATASETS.build(d) if isinstance(d, dict) else d for d in (labeled, unlabeled)]
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load both datasets."""
        if self._fully_initialized:
            return
        table = LabelTable.from_dataset(self.datasets[0])
        if not table.is_single_label:
            raise InputError(
                f'SemiSupervised: expected one label per labeled image, but got {len(table.labels)} on {len(table)}.'
            )
        missing = table.class_distribution().empty_classes
        if len(missing):
            name = table.class_names[missing[0]] if table.class_names else missing[0]
            raise InputError(
                f'SemiSupervised: expected labeled images of every class, but {len(missing)} of {table.num_classes} '
                f'have none, {name!r} first: no unlabeled image could ever get their label. Label some, or leave these '
                'classes out.'
            )
        self.datasets[1].full_init()
        if not len(self.datasets[1]):
            raise InputError('SemiSupervised: expected unlabeled images, but got none.')
        self._check_split()
        self._sizes = [len(dataset) for dataset in self.datasets]
        prior = self.datasets[1].unlabeled['prior'] if isinstance(self.datasets[1], SemiSplit) else None
        named = f' ({prior} prior)' if isinstance(prior, str) else ''
        print_log(f'SemiSupervised: {self._sizes[0]} labeled and {self._sizes[1]} unlabeled images{named}.', 'current')
        base, *others = base_datasets(self.datasets[1])
        self._unlabeled_pipeline = None if others else getattr(base, 'pipeline', None)
        self._labeled_table = table
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """Meta information of the labeled part."""
        return copy.deepcopy(self.datasets[0].metainfo)

    @property
    @force_full_init
    def sizes(self) -> list[int]:
        """Number of labeled and of unlabeled images."""
        return list(self._sizes)

    @property
    @force_full_init
    def true_labels(self) -> np.ndarray:
        """True labels of all images for reports, (N + M,); -1 where the data do not tell them."""
        try:
            table = LabelTable.from_dataset(self.datasets[1])
            labels = table.labels if table.is_single_label else None
        except InputTypeError:
            labels = None
        hidden = np.full(self._sizes[1], -1) if labels is None else labels
        return np.concatenate([self._labeled_table.labels, hidden])

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return the labels of the labeled images; the others have none."""
        table = self._labeled_table
        offsets = np.concatenate([table.offsets, np.full(self._sizes[1], table.offsets[-1])])
        return replace(table, offsets=offsets, is_multi_label=False, unknown=None)

    @force_full_init
    def get_class_distribution(self) -> ClassDistribution:
        """Return the class distribution of the labeled images."""
        return self._labeled_table.class_distribution()

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``, without the label of an unlabeled one."""
        part, row = self._find(idx)
        record = dict(self.datasets[part].get_data_info(row), sample_idx=idx)
        return record if part == 0 else {key: value for key, value in record.items() if not key.startswith('gt_')}

    @force_full_init
    def __getitem__(self, idx: int) -> dict:
        part, row = self._find(idx)
        if part == 1 and self._unlabeled_pipeline is not None:
            item = self._unlabeled_pipeline(SemiSupervised.get_data_info(self, idx))
        else:
            item = self.datasets[part][row]
        if 'data_samples' not in item:
            raise InputError(
                f'SemiSupervised: expected the pipelines of both parts to end in PackInputs, but got {sorted(item)}.'
            )
        sample = item['data_samples']
        sample.set_metainfo(dict(sample_idx=idx))
        if part == 1:
            for key in [key for key in sample.keys() if key.startswith('gt_')]:
                delattr(sample, key)
            also_labeled = getattr(self.datasets[1], 'also_labeled', None)
            sample.set_metainfo(dict(also_labeled=also_labeled is not None and bool(also_labeled[row])))
        return item

    @force_full_init
    def __len__(self) -> int:
        return sum(self._sizes)

    def _check_split(self) -> None:
        """Check that both parts, if they are parts of one dataset, agree on which images are labeled."""
        for name, dataset in zip(PARTS, self.datasets):
            if isinstance(dataset, SemiSplit) and dataset.part != name:
                raise InputError(f'SemiSupervised: expected part={name!r} of `{name}`, but got {dataset.part!r}.')
        labeled, unlabeled = (getattr(dataset, 'indices', None) for dataset in self.datasets)
        also_labeled = getattr(self.datasets[1], 'also_labeled', None)
        if labeled is None or unlabeled is None or also_labeled is None:
            return
        differs = np.isin(unlabeled, labeled) != also_labeled
        if differs.any():
            raise InputError(
                f'SemiSupervised: expected both parts to be of one split, but {differs.sum()} of {len(differs)} '
                'unlabeled images are labeled in one part only: set `max_labeled`, `imbalance_factor` and `seed` of '
                'ltmm.SemiSplit alike in both.'
            )

    def _find(self, idx: int) -> tuple[int, int]:
        """Return part (0: labeled) and index in it."""
        return (0, idx) if idx < self._sizes[0] else (1, idx - self._sizes[0])


@FUNCTIONS.register_module()
def semi_supervised_collate(batch: Sequence[dict]) -> dict:
    """Collate labeled and unlabeled samples apart: the parts may have different numbers of views.

    Returns:
        ``inputs`` and ``data_samples``, each ``dict(labeled=..., unlabeled=...)``; inputs are lists of views, each
        (N, C, H, W).
    """
    parts = {
        'labeled': [item for item in batch if 'gt_label' in item['data_samples']],
        'unlabeled': [item for item in batch if 'gt_label' not in item['data_samples']],
    }
    views = {name: [_views(item['inputs']) for item in part] for name, part in parts.items()}
    for name, images in views.items():
        if len({len(image) for image in images}) > 1:
            raise InputError(f'Expected the same number of views of all {name} images of a batch.')
    return dict(
        inputs={name: [default_collate(list(view)) for view in zip(*images)] for name, images in views.items()},
        data_samples={name: [item['data_samples'] for item in part] for name, part in parts.items()},
    )


def _views(inputs: Any) -> Sequence:
    return inputs if isinstance(inputs, (list, tuple)) else [inputs]
