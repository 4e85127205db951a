"""Which classes each sample of a dataset holds: read once, used by class counts, samplers and reports."""

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Subset

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import DATASETS

from .label_states import POSITIVE, UNKNOWN, checked_states

__all__ = ['LabelTable', 'class_distribution_of']


def class_distribution_of(dataset: Any) -> ClassDistribution:
    """Count the instances and images per class of a dataset, through any wrappers and before repetition.

    A dataset that keeps a part of the training data, chosen by class, offers the distribution of all of them as a
    method ``get_class_distribution()``.

    Args:
        dataset: a dataset of MMEngine, mmpretrain or mmdet, or its config, ``dict(type=...)``.
    """
    if isinstance(dataset, Mapping):
        dataset = DATASETS.build(dataset)
    if hasattr(dataset, 'get_class_distribution'):
        return dataset.get_class_distribution()
    return LabelTable.from_dataset(dataset, unrepeated=True).class_distribution()


# dataset -> (its annotations, their table), so that sampler and hook read a dataset once
_TABLES: WeakKeyDictionary = WeakKeyDictionary()
CHUNK = 2**22  # pairs of labels counted at a time


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of all samples, sample after sample.

    Args:
        labels: class of each labelled instance, (M,).
        offsets: sample i owns ``labels[offsets[i]:offsets[i + 1]]``, (N + 1,).
        num_classes: C.
        class_names: C names in label order, or None.
        is_multi_label: whether a sample may hold any number of classes, as an image does in multi-label data and not in
            detection data, whose labels are of objects. None: where the samples do not have exactly one label each.
        unknown: whether each sample has unknown labels, beside those in ``labels``, (N,); None where none has.
    """

    labels: np.ndarray
    offsets: np.ndarray
    num_classes: int
    class_names: tuple[str, ...] | None = None
    is_multi_label: bool | None = None
    unknown: np.ndarray | None = None

    def __post_init__(self) -> None:
        bad = np.flatnonzero((self.labels < 0) | (self.labels >= self.num_classes))
        if len(bad):
            sample = int(np.searchsorted(self.offsets, bad[0], side='right')) - 1
            raise ValueError(
                f'Expected labels in [0, {self.num_classes}), but sample {sample} has label {self.labels[bad[0]]}.'
            )

    # ------------------------------------------------------------------ ways in

    @classmethod
    def from_labels(
        cls, labels: Sequence[int], num_classes: int, class_names: Sequence[str] | None = None
    ) -> 'LabelTable':
        """From one label per sample, (N,)."""
        labels = np.asarray(labels, dtype=np.int64)
        return cls(labels, np.arange(len(labels) + 1), num_classes, class_names)

    @classmethod
    def from_lists(
        cls, labels: Iterable[Sequence[int]], num_classes: int, class_names: Sequence[str] | None = None
    ) -> 'LabelTable':
        """From the labels of each sample, one list a sample."""
        flat: list[int] = []
        ends = [0]
        for sample in labels:
            flat.extend(sample)
            ends.append(len(flat))
        return cls(np.array(flat, dtype=np.int64), np.array(ends, dtype=np.int64), num_classes, class_names)

    @classmethod
    def from_dataset(cls, dataset: Any, unrepeated: bool = False) -> 'LabelTable':
        """From a dataset of mmengine, mmpretrain or mmdet, through any wrappers.

        A dataset that knows its labels better (one that reads them while it loads, say) offers them as a method
        ``get_label_table()``. Crowd regions of detection data are no instances.

        Args:
            dataset: the dataset.
            unrepeated: leave the repetitions of ``RepeatDataset`` and ``ClassBalancedDataset`` out, as class counts
                must; otherwise row i is the dataset's sample i.

        Raises:
            TypeError: no labels, no class names, or a wrapper that does not say which samples it holds.
            ValueError: a label that is no class, or concatenated datasets with different classes.
        """
        table, rows = cls._with_rows(dataset)
        if rows is None:
            return table
        return table.take(np.unique(rows) if unrepeated else rows)

    @classmethod
    def _with_rows(cls, dataset: Any) -> tuple['LabelTable', np.ndarray | None]:
        """The table of all samples there are, and its row for each index of the dataset; None where i is row i."""
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        if hasattr(dataset, 'get_label_table'):
            return dataset.get_label_table(), None
        if hasattr(dataset, 'datasets'):  # ConcatDataset
            return cls._concatenated(*zip(*map(cls._with_rows, dataset.datasets)))
        if hasattr(dataset, 'dataset'):  # RepeatDataset, ClassBalancedDataset, MultiImageMixDataset, ...
            table, rows = cls._with_rows(dataset.dataset)
            indices = _indices_of_wrapper(dataset)
            return table, rows if indices is None else indices if rows is None else rows[indices]
        source = _annotations_of(dataset)
        known_source, table = _TABLES.get(dataset, (None, None))
        if table is None or known_source is not source or len(table) != len(dataset):
            table = cls._of_leaf(dataset)
            _TABLES[dataset] = source, table
        return table, None

    @classmethod
    def _of_leaf(cls, dataset: Any) -> 'LabelTable':
        names = tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())
        if not names:
            raise TypeError(
                f"Expected {type(dataset).__name__} to name its classes in metainfo['classes'], but it does not. "
                'Pass metainfo=dict(classes=[...]) to the dataset, or class_counts=[...] to the parts that need them.'
            )
        records = _records(dataset)
        first = next(records, {})
        unknown: list[bool] = []

        def labels_of(record: dict) -> Sequence[int]:
            labels = _labels_of(record)
            unknown.append('gt_score' in record and UNKNOWN in record['gt_score'])
            return labels

        table = cls.from_lists(map(labels_of, chain([first] if first else [], records)), len(names), names)
        is_multi_label = False if 'instances' in first else True if 'gt_score' in first else None
        return replace(table, is_multi_label=is_multi_label, unknown=np.array(unknown, dtype=bool))

    @classmethod
    def _concatenated(
        cls, tables: Sequence['LabelTable'], rows: Sequence[np.ndarray | None]
    ) -> tuple['LabelTable', np.ndarray | None]:
        first = tables[0]
        for table in tables[1:]:
            if table.num_classes != first.num_classes:
                got = f'{first.num_classes} and {table.num_classes} classes'
            elif None not in (table.class_names, first.class_names) and table.class_names != first.class_names:
                got = next(f'{a!r} and {b!r}' for a, b in zip(first.class_names, table.class_names) if a != b)
            else:
                continue
            raise ValueError(f'Expected the concatenated datasets to have the same classes, but got {got}.')
        starts = np.cumsum([0] + [len(table.labels) for table in tables[:-1]])
        offsets = [table.offsets[1:] + start for table, start in zip(tables, starts)]
        labels = np.concatenate([table.labels for table in tables])
        unknown = np.concatenate([np.zeros(len(t), bool) if t.unknown is None else t.unknown for t in tables])
        table = replace(first, labels=labels, offsets=np.concatenate([[0], *offsets]), unknown=unknown)
        if all(part is None for part in rows):
            return table, None
        starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
        rows = [np.arange(len(t)) if part is None else part for t, part in zip(tables, rows)]
        return table, np.concatenate([part + start for part, start in zip(rows, starts)])

    # ------------------------------------------------------------------ what it knows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def is_single_label(self) -> bool:
        """Whether every sample has exactly one label."""
        return len(self.labels) == len(self) and bool((np.diff(self.offsets) == 1).all())

    @property
    def has_unknown(self) -> bool:
        """Whether any sample has unknown labels."""
        return self.unknown is not None and bool(self.unknown.any())

    @property
    def samples(self) -> np.ndarray:
        """Sample each label belongs to, (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def unique_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(sample, class) pairs without duplicates, sorted by sample: two arrays (P,)."""
        if self.is_single_label:
            return np.arange(len(self)), self.labels
        pairs = np.unique(self.samples * self.num_classes + self.labels)
        return pairs // self.num_classes, pairs % self.num_classes

    def take(self, indices: np.ndarray) -> 'LabelTable':
        """The table of the samples ``indices``, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        labels = self.labels[np.repeat(self.offsets[indices], lengths) + within]
        unknown = None if self.unknown is None else self.unknown[indices]
        return replace(self, labels=labels, offsets=offsets, unknown=unknown)

    def co_occurrence(self) -> np.ndarray:
        """Samples that hold both of two classes, int64, (C, C); on the diagonal those that hold the class."""
        samples, classes = self.unique_pairs()  # (P,), (P,)
        sizes = np.bincount(samples, minlength=len(self))  # (N,)
        starts = np.cumsum(sizes) - sizes
        counts = np.zeros(self.num_classes**2, dtype=np.int64)
        ends = np.cumsum(sizes[samples])  # (P,)
        num_chunks = -(-int(ends[-1]) // CHUNK) if len(ends) else 0
        for rows in np.split(np.arange(len(samples)), np.searchsorted(ends, CHUNK * np.arange(1, num_chunks))):
            partners = sizes[samples[rows]]
            within = np.arange(partners.sum()) - np.repeat(np.cumsum(partners) - partners, partners)
            others = classes[np.repeat(starts[samples[rows]], partners) + within]
            pairs = np.repeat(classes[rows], partners) * self.num_classes + others
            counts += np.bincount(pairs, minlength=len(counts))
        return counts.reshape(self.num_classes, self.num_classes)

    def class_distribution(self) -> ClassDistribution:
        """Instances and images per class.

        Of multi-label data all images count, as all are a negative example of something, and their co-occurrence is
        counted too. Of detection data only images with an object count, as in LVIS's shares of images.
        """
        instances = np.bincount(self.labels, minlength=self.num_classes)
        images = np.bincount(self.unique_pairs()[1], minlength=self.num_classes)
        is_multi_label = not self.is_single_label if self.is_multi_label is None else self.is_multi_label
        num_images = len(self) if is_multi_label else int((np.diff(self.offsets) > 0).sum())
        co_occurrence = self.co_occurrence() if is_multi_label else None
        return ClassDistribution(instances, images, num_images, self.class_names, co_occurrence)


def _annotations_of(dataset: Any) -> Any:
    """The object that holds the annotations: another one when the dataset was cut to a subset of itself."""
    return getattr(dataset, 'data_bytes' if getattr(dataset, 'serialize_data', False) else 'data_list', None)


def _records(dataset: Any) -> Iterator[dict]:
    """The raw annotation records; without the deep copies of ``get_data_info`` where the dataset has not its own."""
    if not hasattr(dataset, 'get_data_info'):
        raise TypeError(
            f'Expected a dataset of mmengine, mmpretrain or mmdet, but got {type(dataset).__name__}, which has no '
            '`get_data_info`. Give it a method `get_label_table()` that returns an ltmm.datasets.LabelTable.'
        )
    if getattr(type(dataset), 'get_data_info', None) is not BaseDataset.get_data_info:
        return (dataset.get_data_info(i) for i in range(len(dataset)))
    if not dataset.serialize_data:
        return iter(dataset.data_list)
    ends = dataset.data_address
    data = memoryview(dataset.data_bytes)
    return (pickle.loads(data[start:end]) for start, end in zip([0, *ends[:-1]], ends))


def _labels_of(record: dict) -> Sequence[int]:
    """Class labels in one annotation record of mmpretrain (gt_score, gt_label) or mmdet (instances)."""
    if 'instances' in record:  # detection; crowd regions are no instances
        key = 'bbox_label' if 'bbox_label' in next(iter(record['instances']), {}) else 'mask_label'
        return [instance[key] for instance in record['instances'] if not instance.get('ignore_flag')]
    if 'gt_score' in record:  # multi-label; what a head trains on where there is gt_label, too
        return np.flatnonzero(checked_states(record['gt_score']) == POSITIVE).tolist()
    if 'gt_label' in record:
        label = record['gt_label']
        return label if isinstance(label, (list, tuple)) else np.atleast_1d(label).tolist()
    raise TypeError(
        f"Expected annotations with 'gt_label', 'gt_score' or 'instances', but got the keys {sorted(record)}."
    )


def _indices_of_wrapper(wrapper: Any) -> np.ndarray | None:
    """Index into the inner dataset for each index of a wrapper; None where they are the same."""
    if isinstance(wrapper, Subset):
        return np.asarray(wrapper.indices)
    if len(wrapper) == len(wrapper.dataset):
        return None
    if hasattr(wrapper, 'repeat_indices'):  # ClassBalancedDataset
        return np.asarray(wrapper.repeat_indices)
    if hasattr(wrapper, '_get_ori_dataset_idx'):  # RepeatDataset
        return np.array([wrapper._get_ori_dataset_idx(i) for i in range(len(wrapper))])
    raise TypeError(
        f'Expected {type(wrapper).__name__} to say which of the {len(wrapper.dataset)} samples of its dataset are its '
        f'own {len(wrapper)}, but it does not. Give it a method `get_label_table()` that returns an '
        'ltmm.datasets.LabelTable.'
    )
