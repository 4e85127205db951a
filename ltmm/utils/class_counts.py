"""Counts of classes as they come: lists, matrices, mappings and files, checked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ['ClassDistributionError', 'checked_co_occurrence', 'checked_counts', 'counts_by_name', 'read_counts']


class ClassDistributionError(InputError):
    """Class counts that cannot be what they are said to be."""


def checked_counts(counts: Any, name: str) -> np.ndarray:
    """A read-only int64 array (C,) of ``counts``, or an error that says what is wrong with them."""
    try:
        array = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        raise ClassDistributionError(f'Expected `{name}` to be a list of numbers, but got {counts!r}.') from None
    if array.ndim != 1 or not len(array):
        raise ClassDistributionError(f'Expected `{name}` to be of shape (C,), but got shape {array.shape}.')
    bad = np.flatnonzero(~np.isfinite(array) | (array < 0) | (array != np.round(array)))
    if len(bad):
        raise ClassDistributionError(
            f'Expected `{name}` to be whole numbers >= 0, but got {array[bad[0]]:g} for class {bad[0]}.'
        )
    if not array.sum():
        raise ClassDistributionError(f'Expected `{name}` to hold at least one sample, but all {len(array)} are zero.')
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def checked_co_occurrence(co_occurrence: Any, image_counts: np.ndarray) -> np.ndarray:
    """A read-only int64 array (C, C), or an error that says what is wrong with it."""
    array = np.array(co_occurrence, dtype=np.int64)
    size = len(image_counts)
    if array.shape != (size, size):
        raise ClassDistributionError(
            f'Expected `co_occurrence` to be of shape ({size}, {size}), but got shape {array.shape}.'
        )
    if (array != array.T).any() or (array < 0).any() or (array.diagonal() != image_counts).any():
        raise ClassDistributionError(
            'Expected `co_occurrence` to be a symmetric matrix of counts with `image_counts` on its diagonal.'
        )
    array.setflags(write=False)
    return array


def counts_by_name(counts: Mapping[str, int], class_names: Sequence[str] | None) -> list[int]:
    """Counts in label order from ``{name: count}``; both too many and too few names are errors."""
    if class_names is None:
        return list(counts.values())
    unknown = [name for name in counts if name not in set(class_names)]
    if unknown:
        raise ClassDistributionError(
            f'Expected `class_counts` to name classes of the dataset, but got {unknown[0]!r} '
            f'({len(unknown)} unknown in all). Valid names: {", ".join(map(str, class_names[:10]))}'
            f'{", ..." if len(class_names) > 10 else ""}.'
        )
    missing = [name for name in class_names if name not in counts]
    if missing:
        raise ClassDistributionError(
            f'Expected `class_counts` to name all {len(class_names)} classes, but {len(missing)} are missing, '
            f'{missing[0]!r} first. Say 0 for a class without samples.'
        )
    return [counts[name] for name in class_names]


def read_counts(path: Path) -> Any:
    """The list or dictionary in a json or npy file."""
    if not path.is_file():
        raise FileNotFoundError(f'Expected `class_counts` to be a file, but {path} does not exist.')
    try:
        if path.suffix == '.npy':
            return np.load(path, allow_pickle=False)
        if path.suffix == '.json':
            return json.loads(path.read_text())
    except ValueError as e:
        raise ClassDistributionError(f'Cannot read class counts from {path}: {e}') from None
    raise ClassDistributionError(f'Expected a .json or .npy file of class counts, but got {path}.')
