"""Conversion and validation of class counts: lists, matrices, mappings and files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ['ClassDistributionError', 'checked_co_occurrence', 'checked_counts', 'counts_by_name', 'read_counts']


class ClassDistributionError(InputError):
    """Invalid class counts."""


def checked_counts(counts: Any, name: str) -> np.ndarray:
    """Convert class counts to a read-only int64 array (C,)."""
    try:
        array = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        raise ClassDistributionError(f'Expected `{name}` to be a list of numbers, but got {counts!r}.') from None
    if array.ndim != 1 or not len(array):
        raise ClassDistributionError(f'Expected `{name}` of shape (C,), but got shape {array.shape}.')
    bad = np.flatnonzero(~np.isfinite(array) | (array < 0) | (array != np.round(array)))
    if len(bad):
        raise ClassDistributionError(f'Expected `{name}` to be int >= 0, but got {array[bad[0]]:g} for class {bad[0]}.')
    if not array.sum():
        raise ClassDistributionError(f'Expected `{name}` with a positive count, but all {len(array)} are zero.')
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def checked_co_occurrence(co_occurrence: Any, image_counts: np.ndarray) -> np.ndarray:
    """Convert co-occurrences to a read-only int64 array (C, C)."""
    array = np.array(co_occurrence, dtype=np.int64)
    if array.shape != 2 * image_counts.shape:
        raise ClassDistributionError(
            f'Expected `co_occurrence` of shape {2 * image_counts.shape}, but got shape {array.shape}.'
        )
    if (array != array.T).any() or (array < 0).any() or (array.diagonal() != image_counts).any():
        raise ClassDistributionError(
            'Expected `co_occurrence` to be a symmetric matrix of counts with `image_counts` on its diagonal.'
        )
    array.setflags(write=False)
    return array


def counts_by_name(counts: Mapping[str, int], class_names: Sequence[str] | None) -> list[int]:
    """Return the counts of ``{class name: count}`` in label order."""
    if class_names is None:
        return list(counts.values())
    known = set(class_names)
    wrong = [name for name in counts if name not in known] + [name for name in class_names if name not in counts]
    if wrong:
        names = ', '.join(map(str, class_names[:10])) + ', ...' * (len(class_names) > 10)
        raise ClassDistributionError(
            f'Expected `class_counts` to name all {len(class_names)} classes of the dataset, but {wrong[0]!r} is '
            f'unknown or missing. Valid names: {names}.'
        )
    return [counts[name] for name in class_names]


def read_counts(path: Path) -> Any:
    """Read the list or dictionary of a json or npy file."""
    if not path.is_file():
        raise FileNotFoundError(f'Class counts {path} do not exist.')
    try:
        if path.suffix == '.npy':
            return np.load(path, allow_pickle=False)
        if path.suffix == '.json':
            return json.loads(path.read_text())
    except ValueError as e:
        raise ClassDistributionError(f'Cannot read class counts from {path}: {e}') from None
    raise ClassDistributionError(f'Expected a .json or .npy file of class counts, but got {path}.')
