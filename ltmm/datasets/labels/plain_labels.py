"""Labels of data that are not OpenMMLab's: sequences, arrays and tensors; datasets of torchvision and Hugging Face."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ltmm.utils.errors import InputError, InputTypeError

from .label_states import POSITIVE, UNKNOWN
from .label_table import LabelTable

__all__ = ['READERS', 'no_labels_error', 'read_labels', 'read_plain_dataset']


def read_labels(
    labels: Any, num_classes: int | None = None, class_names: Sequence[str] | None = None, where: str = '`labels`'
) -> LabelTable:
    """Build a table from labels in any of the usual forms.

    Args:
        labels: One class index per sample, (N,); for multi-label data an array or tensor (N, C) of 1 (positive), 0
            (negative) and -1 (unknown), or a list of N lists of class indices.
        num_classes: C. Default: the number of ``class_names``, else one more than the highest label.
        class_names: C names in label order.
        where: Name of the labels, for messages.
    """
    names = None if class_names is None else tuple(map(str, class_names))
    num_classes = num_classes or (len(names) if names else None)
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    elif not isinstance(labels, np.ndarray):
        labels = list(labels)
        if labels and isinstance(labels[0], torch.Tensor):
            labels = [label.tolist() for label in labels]
        if any(isinstance(label, (Sequence, np.ndarray)) and not isinstance(label, str) for label in labels):
            lists = [np.atleast_1d(label).tolist() for label in labels]
            if not _looks_multi_hot(lists):
                whole = (label for classes in lists for label in classes if isinstance(label, int))
                table = LabelTable.from_lists(lists, num_classes or max(max(whole, default=0) + 1, 1), names)
                return replace(table, is_multi_label=True)
            labels = np.array(lists)
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        return _from_multi_hot(array, num_classes, names, where)
    if array.ndim != 1:
        raise InputError(f'Expected {where} of shape (N,) or (N, C), but got shape {array.shape}.')
    if num_classes is None and array.dtype.kind in 'fiub' and len(array) and np.isfinite(array).all():
        num_classes = int(array.max()) + 1
    return LabelTable.from_labels(array if array.dtype.kind in 'fiub' else labels, max(num_classes or 1, 1), names)


def _looks_multi_hot(lists: list[list]) -> bool:
    """Whether lists of classes are rows (N, C) of 0, 1 and -1; else every sample would have the classes 0 and 1."""
    return len(lists[0]) > 1 and all(len(row) == len(lists[0]) and set(row) <= {0, 1, -1} for row in lists)


def _from_multi_hot(
    array: np.ndarray, num_classes: int | None, names: tuple[str, ...] | None, where: str
) -> LabelTable:
    if num_classes not in (None, array.shape[1]):
        raise InputError(f'Expected {where} of {num_classes} classes, but got shape {array.shape}.')
    if not np.isin(array, (0, 1, -1)).all():
        bad = array[~np.isin(array, (0, 1, -1))][0]
        raise InputError(f'Expected {where} (N, C) of 1 (positive), 0 (negative) or -1 (unknown), but got {bad}.')
    samples, classes = np.nonzero(array == POSITIVE)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(samples, minlength=len(array)))])
    unknown = (array == UNKNOWN).any(axis=1)
    return LabelTable(classes, offsets, array.shape[1], names, is_multi_label=True, unknown=unknown)


# ------------------------------------------------------------------ datasets, by the attribute that holds their labels


def _of_torchvision(dataset: Any, labels: Any) -> LabelTable:
    """``targets`` or ``labels`` of torchvision and of datasets after its example, with names in ``classes``."""
    names = getattr(dataset, 'classes', None)
    if names is not None:
        names = [', '.join(name) if isinstance(name, tuple) else str(name) for name in names]  # ImageNet's are tuples
    transform = getattr(dataset, 'target_transform', None)
    if transform is not None:
        labels, names = [transform(label) for label in labels], None
    return read_labels(labels, class_names=names, where=f'the labels of {type(dataset).__name__}')


def _of_tensors(dataset: Any, tensors: Sequence[torch.Tensor]) -> LabelTable:
    """The last tensor of a ``TensorDataset``."""
    if len(tensors) < 2:
        raise no_labels_error(dataset)
    return read_labels(tensors[-1], where=f'the last tensor of {type(dataset).__name__}')


def _of_hugging_face(dataset: Any, features: Any) -> LabelTable:
    """The column of class labels of a ``datasets.Dataset``; without one, the column 'label' or 'labels'."""
    datasets = sys.modules.get('datasets')  # whoever has such a dataset has imported it
    if datasets is None or not isinstance(dataset, datasets.Dataset):
        raise no_labels_error(dataset)
    inner = {column: getattr(feature, 'feature', feature) for column, feature in features.items()}  # of lists
    columns = [column for column, feature in inner.items() if isinstance(feature, datasets.ClassLabel)]
    candidates = columns or list(inner)
    if len(columns) != 1:
        columns = [column for column in ('label', 'labels') if column in candidates]
    if len(columns) != 1:
        raise InputError(
            f'Cannot tell which column of {type(dataset).__name__} holds the labels: {", ".join(candidates)}. '
            'Pass labels=dataset[column].'
        )
    (column,) = columns
    names = inner[column].names if isinstance(inner[column], datasets.ClassLabel) else None
    return read_labels(dataset.with_format(None)[column], class_names=names, where=f'the column {column!r}')


READERS: dict[str, Callable[[Any, Any], LabelTable]] = dict(  # attribute of a dataset: how its labels are read
    targets=_of_torchvision,  # ImageFolder, DatasetFolder, CIFAR10, CIFAR100, MNIST
    labels=_of_torchvision,  # SVHN, STL10
    tensors=_of_tensors,  # TensorDataset
    features=_of_hugging_face,  # datasets.Dataset
)


def read_plain_dataset(dataset: Any) -> LabelTable | None:
    """Read a dataset by the first of :data:`READERS` that it has an attribute for; None without any."""
    for attribute, reader in READERS.items():
        value = getattr(dataset, attribute, None)
        if value is not None and not callable(value):
            return reader(dataset, value)
    return None


def no_labels_error(dataset: Any) -> InputTypeError:
    """Return the error of a dataset without labels."""
    return InputTypeError(
        f'Cannot find the labels of {type(dataset).__name__}: it has no `get_data_info` (OpenMMLab), `targets` or '
        '`labels` (torchvision), `tensors` (TensorDataset), `features` (Hugging Face) or `get_label_table()`, which '
        'returns an ltmm.datasets.LabelTable. Pass labels=[...], one per sample.'
    )
