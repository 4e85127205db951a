"""Labels of all samples of a dataset, read once for class counts, samplers and reports."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Subset

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import DATASETS
from ltmm.utils.class_names import class_names_of_dataset
from ltmm.utils.errors import InputError, InputTypeError

from .label_states import POSITIVE, UNKNOWN, checked_states

__all__ = ['LabelTable', 'class_distribution_of']

CHUNK = 2**22  # label pairs counted at a time
_TABLES: WeakKeyDictionary = WeakKeyDictionary()  # dataset -> (its annotations, its table), so that it is read once


def class_distribution_of(dataset: Any, co_occurrence: bool = False) -> ClassDistribution:
    """Count the instances and images per class of a dataset, through any wrappers and before repetition.

    A dataset that selects training data by class provides the distribution of all of them by
    ``get_class_distribution()``.

    Args:
        dataset: A dataset of MMEngine, mmpretrain, mmdet, torchvision or Hugging Face, or its config.
        co_occurrence: Count the images that hold both of two classes too, (C, C), for multi-label data.
    """
    if isinstance(dataset, Mapping):
        if 'type' not in dataset:
            raise InputTypeError(
                f'Expected a dataset or its config, but got {type(dataset).__name__} of {", ".join(map(str, dataset))}.'
            )
        dataset = DATASETS.build(dataset)
    if hasattr(dataset, 'get_class_distribution'):
        return dataset.get_class_distribution()
    return LabelTable.from_dataset(dataset, unrepeated=True).class_distribution(co_occurrence)


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of all samples, concatenated.

    Args:
        labels: Class of each labeled instance, (M,).
        offsets: ``labels[offsets[i]:offsets[i + 1]]`` are those of sample i, (N + 1,).
        num_classes: C.
        class_names: C names in label order, or None.
        is_multi_label: Whether the data are multi-label; False for detection data, whose labels belong to objects.
            Default: True unless every sample has exactly one label.
        unknown: Whether each sample also has unknown labels, (N,). Default: none has.
    """

    labels: np.ndarray
    offsets: np.ndarray
    num_classes: int
    class_names: tuple[str, ...] | None = None
    is_multi_label: bool | None = None
    unknown: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_labels(self.labels, self.offsets, self.num_classes, 'sample {}'.format)

    @classmethod
    def from_labels(
        cls, labels: Sequence[int], num_classes: int, class_names: Sequence[str] | None = None
    ) -> 'LabelTable':
        """Build a table from one label per sample, (N,)."""
        return cls(_as_labels(labels), np.arange(len(labels) + 1), num_classes, class_names)

    @classmethod
    def from_lists(
        cls,
        labels: Iterable[Sequence[int]],
        num_classes: int,
        class_names: Sequence[str] | None = None,
        name_of: Callable[[int], str] = 'sample {}'.format,
    ) -> 'LabelTable':
        """Build a table from a list of labels per sample; ``name_of`` names the sample of an invalid label."""
        flat: list[int] = []
        ends = [0]
        for sample in labels:
            flat.extend(sample)
            ends.append(len(flat))
        flat, ends = _as_labels(flat), np.array(ends, dtype=np.int64)
        _check_labels(flat, ends, num_classes, name_of)
        return cls(flat, ends, num_classes, class_names)

    @classmethod
    def from_dataset(cls, dataset: Any, unrepeated: bool = False) -> 'LabelTable':
        """Read a dataset of MMEngine, mmpretrain or mmdet, through any wrappers; crowd regions are ignored.

        Datasets of torchvision and Hugging Face are read too, see :mod:`ltmm.datasets.labels.plain_labels`, and a
        dataset may provide its own table by a method ``get_label_table()``.

        Args:
            dataset: The dataset.
            unrepeated: Ignore the repetitions of ``RepeatDataset`` and ``ClassBalancedDataset``, for class counts.
                Otherwise row i is sample i of the dataset.
        """
        table, rows = _read(dataset)
        if rows is None:
            return table
        return table.take(np.unique(rows) if unrepeated else rows)

    @classmethod
    def from_records(cls, dataset: Any) -> 'LabelTable':
        """Read a dataset without wrappers, record by record."""
        records = iterate_records(dataset)
        names = tuple(class_names_of_dataset(dataset) or ())
        if not names:
            raise InputTypeError(
                f"{type(dataset).__name__} has no class names in metainfo['classes']. Pass metainfo=dict(classes=[...])"
                ' to the dataset, or class_counts=[...] to the modules that need them.'
            )
        first, unknown = {}, []

        def labels() -> Iterator[Sequence[int]]:
            nonlocal first
            for record in records:
                first = first or record
                yield _labels_of(record)
                unknown.append('gt_score' in record and UNKNOWN in record['gt_score'])

        def name_of(sample: int) -> str:
            record = dataset.get_data_info(sample)
            return record.get('img_path') or f'sample {record.get("img_id", sample)}'

        table = cls.from_lists(labels(), len(names), names, name_of)
        is_multi_label = False if 'instances' in first else True if 'gt_score' in first else None
        return replace(table, is_multi_label=is_multi_label, unknown=np.array(unknown, dtype=bool))

    @classmethod
    def concatenate(cls, tables: Sequence['LabelTable']) -> 'LabelTable':
        """Concatenate the tables of datasets with the same classes; without names, of those up to the highest label."""
        first = tables[0]
        if all(table.class_names is None for table in tables):
            first = replace(first, num_classes=max(table.num_classes for table in tables))
        for table in tables[1:]:
            if table.num_classes != first.num_classes and (table.class_names or first.class_names):
                got = f'{first.num_classes} and {table.num_classes} classes'
            elif None not in (table.class_names, first.class_names) and table.class_names != first.class_names:
                got = next(f'{a!r} and {b!r}' for a, b in zip(first.class_names, table.class_names) if a != b)
            else:
                continue
            raise InputError(f'Expected the concatenated datasets to have the same classes, but got {got}.')
        starts = np.cumsum([0] + [len(table.labels) for table in tables[:-1]])
        offsets = [table.offsets[1:] + start for table, start in zip(tables, starts)]
        labels = np.concatenate([table.labels for table in tables])
        unknown = np.concatenate([np.zeros(len(t), bool) if t.unknown is None else t.unknown for t in tables])
        return replace(first, labels=labels, offsets=np.concatenate([[0], *offsets]), unknown=unknown)

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
        """Sample of each label, (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def image_counts(self) -> np.ndarray:
        """Number of samples that hold each class, (C,)."""
        counts = np.bincount(self.unique_pairs()[1], minlength=self.num_classes)
        counts.setflags(write=False)
        return counts

    def unique_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct (sample, class) pairs, sorted by sample: two arrays (P,)."""
        if self.is_single_label:
            return np.arange(len(self)), self.labels
        pairs = np.unique(self.samples * self.num_classes + self.labels)
        return pairs // self.num_classes, pairs % self.num_classes

    def take(self, indices: np.ndarray) -> 'LabelTable':
        """Select samples by index."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        labels = self.labels[np.repeat(self.offsets[indices], lengths) + within]
        unknown = None if self.unknown is None else self.unknown[indices]
        return replace(self, labels=labels, offsets=offsets, unknown=unknown)

    def co_occurrence(self) -> np.ndarray:
        """Count the samples that hold both of two classes, int64, (C, C)."""
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
            pairs, times = np.unique(pairs, return_counts=True)  # few of all C^2
            counts[pairs] += times
        counts.setflags(write=False)
        return counts.reshape(self.num_classes, self.num_classes)

    def class_distribution(self, co_occurrence: bool = False) -> ClassDistribution:
        """Count instances and images per class.

        ``num_images`` is the number of all images of multi-label data, but of those with an object in detection data,
        as in LVIS.

        Args:
            co_occurrence: Count the co-occurrence of multi-label data too, see :meth:`co_occurrence`.
        """
        instances = np.bincount(self.labels, minlength=self.num_classes)
        is_multi_label = not self.is_single_label if self.is_multi_label is None else self.is_multi_label
        num_images = len(self) if is_multi_label else int((np.diff(self.offsets) > 0).sum())
        together = self.co_occurrence() if co_occurrence and is_multi_label else None
        return ClassDistribution(instances, self.image_counts, num_images, self.class_names, together)


def _as_labels(labels: Sequence[float]) -> np.ndarray:
    """Convert labels to int64, unless some are not whole numbers."""
    try:
        array = np.asarray(labels)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in 'fbiu':  # each as it is, to name the first that is no number
        array = np.empty(len(labels), dtype=object)
        array[:] = labels
    return array.astype(np.int64) if _is_whole(array).all() else array


def _is_whole(labels: np.ndarray) -> np.ndarray:
    """Whether each label is a whole number, also one stored as float; text and integers beyond int64 are not."""
    if labels.dtype.kind in 'fbiu':
        return labels == np.rint(labels) if labels.dtype.kind == 'f' else np.ones(labels.shape, dtype=bool)
    return np.array([isinstance(label, int) and abs(label) < 2**63 for label in labels], dtype=bool)


def _check_labels(labels: np.ndarray, offsets: np.ndarray, num_classes: int, name_of: Callable[[int], str]) -> None:
    bad, expected = ~_is_whole(labels), 'that are whole numbers'
    if not bad.any():
        bad, expected = (labels < 0) | (labels >= num_classes), f'in [0, {num_classes})'
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        sample = int(np.searchsorted(offsets, first, side='right')) - 1
        raise InputError(f'Expected labels {expected}, but {name_of(sample)} has label {labels[first]}.')


# ------------------------------------------------------------------ datasets of MMEngine, mmpretrain, mmdet and torch


def _read(dataset: Any) -> tuple[LabelTable, np.ndarray | None]:
    """Return the table of the unrepeated samples and, for each index of ``dataset``, its row; None for row i = i."""
    from .plain_labels import no_labels_error, read_plain_dataset

    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    if hasattr(dataset, 'get_label_table'):
        return dataset.get_label_table(), None
    if not hasattr(dataset, 'get_data_info') and (plain := read_plain_dataset(dataset)) is not None:
        return plain, None
    if hasattr(dataset, 'datasets'):  # ConcatDataset
        tables, rows = zip(*map(_read, dataset.datasets))
        if all(part is None for part in rows):
            return LabelTable.concatenate(tables), None
        starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
        rows = [np.arange(len(table)) if part is None else part for table, part in zip(tables, rows)]
        return LabelTable.concatenate(tables), np.concatenate([part + start for part, start in zip(rows, starts)])
    if hasattr(dataset, 'dataset'):  # RepeatDataset, ClassBalancedDataset, MultiImageMixDataset, ...
        table, rows = _read(dataset.dataset)
        indices = _inner_indices(dataset)
        return table, rows if indices is None else indices if rows is None else rows[indices]
    if not hasattr(dataset, 'get_data_info'):
        raise no_labels_error(dataset)
    # the annotations are another object after the dataset was cut to a subset of itself
    annotations = getattr(dataset, 'data_bytes' if getattr(dataset, 'serialize_data', False) else 'data_list', None)
    known, table = _TABLES.get(dataset, (None, None))
    if table is None or known is not annotations or len(table) != len(dataset):
        table = LabelTable.from_records(dataset)
        _TABLES[dataset] = annotations, table
    return table, None


def _inner_indices(wrapper: Any) -> np.ndarray | None:
    """Return the index in the inner dataset for each index of a wrapper; None if they are the same."""
    if isinstance(wrapper, Subset):
        return np.asarray(wrapper.indices)
    if len(wrapper) == len(wrapper.dataset):
        return None
    if hasattr(wrapper, '_get_ori_dataset_idx'):  # RepeatDataset, ClassBalancedDataset, KFoldDataset
        return np.array([wrapper._get_ori_dataset_idx(i) for i in range(len(wrapper))])
    raise InputTypeError(
        f'Cannot tell which of the {len(wrapper.dataset)} inner samples are the {len(wrapper)} samples of '
        f'{type(wrapper).__name__}. Give it a method `get_label_table()` that returns an ltmm.datasets.LabelTable.'
    )


def iterate_records(dataset: Any) -> Iterator[dict]:
    """Iterate over the raw annotation records, without the deep copies of ``BaseDataset.get_data_info``."""
    if type(dataset).get_data_info is not BaseDataset.get_data_info:
        return (dataset.get_data_info(i) for i in range(len(dataset)))
    if not dataset.serialize_data:
        return iter(dataset.data_list)
    ends = dataset.data_address
    data = memoryview(dataset.data_bytes)
    return (pickle.loads(data[start:end]) for start, end in zip([0, *ends[:-1]], ends))


def _labels_of(record: dict) -> Sequence[int]:
    """Return the class labels of an annotation record of mmpretrain (gt_score, gt_label) or mmdet (instances)."""
    if 'instances' in record:  # detection; without crowd regions
        key = 'bbox_label' if 'bbox_label' in next(iter(record['instances']), {}) else 'mask_label'
        return [instance[key] for instance in record['instances'] if not instance.get('ignore_flag')]
    if 'gt_score' in record:  # multi-label; heads use it even if there is gt_label
        return np.flatnonzero(checked_states(record['gt_score']) == POSITIVE).tolist()
    if 'gt_label' in record:
        label = record['gt_label']
        return label if isinstance(label, (list, tuple)) else np.atleast_1d(label).tolist()
    raise InputTypeError(
        f'Expected records with `gt_label`, `gt_score` or `instances`, but got the keys {sorted(record)}.'
    )
