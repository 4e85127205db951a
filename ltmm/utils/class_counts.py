"""Conversion and validation of class counts: lists, matrices, mappings and files."""

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .data_files import DataFileError, read_array, read_json
from .errors import InputError

__all__ = [
    'ClassDistributionError',
    'checked_co_occurrence',
    'checked_counts',
    'is_by_name',
    'missing_names_error',
    'read_counts',
    'refuse_dataset',
    'refuse_labels',
]


BLOCK = 256  # classes
MAX_COUNT = 1e12  # sums of all counts fit into int64


class ClassDistributionError(InputError):
    """Invalid class counts."""


def checked_counts(counts: Any, name: str) -> np.ndarray:
    """Convert class counts to a read-only int64 array (C,)."""
    try:
        array = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ClassDistributionError(
            f'Expected `{name}` to be a list of numbers, but got {reprlib.repr(counts)}.'
        ) from None
    if array.ndim != 1 or not len(array):
        raise ClassDistributionError(f'Expected `{name}` of shape (C,), but got shape {array.shape}.')
    bad = np.flatnonzero(~((array >= 0) & (array <= MAX_COUNT) & (array == np.round(array))))
    if len(bad):
        raise ClassDistributionError(
            f'Expected `{name}` to be int in [0, 1e12], but got {array[bad[0]]:g} for class {bad[0]}.'
        )
    if not array.sum():
        raise ClassDistributionError(f'Expected `{name}` with a positive count, but all {len(array)} are zero.')
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def checked_co_occurrence(co_occurrence: Any, image_counts: np.ndarray) -> np.ndarray:
    """Convert co-occurrences to a read-only int64 array (C, C)."""
    try:
        array = np.asarray(co_occurrence)
        if array.dtype.kind == 'f' and (array % 1).any():
            raise ValueError('it has fractions')
        array = array.astype(np.int64, copy=False)
    except (TypeError, ValueError, OverflowError) as e:
        raise ClassDistributionError(f'Expected `co_occurrence` to be a matrix of counts ({e}).') from None
    array = array.copy() if array.flags.writeable else array
    if array.shape != 2 * image_counts.shape:
        raise ClassDistributionError(
            f'Expected `co_occurrence` of shape {2 * image_counts.shape}, but got shape {array.shape}.'
        )
    blocks = range(0, len(array), BLOCK)  # one comparison of 20,000 classes would take a second matrix
    is_symmetric = all(np.array_equal(array[i : i + BLOCK], array[:, i : i + BLOCK].T) for i in blocks)
    if not is_symmetric or array.min() < 0 or (array.diagonal() != image_counts).any():
        raise ClassDistributionError(
            'Expected `co_occurrence` to be a symmetric matrix of counts with `image_counts` on its diagonal.'
        )
    array.setflags(write=False)
    return array


def refuse_labels(values: Any) -> None:
    """Raise if the values look like the labels of samples: 0, 1, ..., C - 1, at least ten times each on average."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in 'iu' or not len(array) or array.min() != 0:
        return
    if array.max() < len(array) // 10 and np.bincount(array).all():
        raise ClassDistributionError(
            f'Expected counts per class, but got {len(array)} values from 0 to {array.max()}, which look like the '
            'labels of the samples. Use ClassDistribution.from_labels(labels); pass counts that look so with their '
            'class names.'
        )


def refuse_dataset(values: Any) -> None:
    """Raise if the values are neither a sequence nor an array; numpy would read all images of a dataset."""
    if not isinstance(values, Sequence) and not hasattr(values, '__array__'):
        raise ClassDistributionError(
            f'Expected counts per class, but got {type(values).__name__}. Use ClassDistribution.from_dataset(dataset).'
        )


def is_by_name(counts: Any) -> bool:
    """Whether counts are ``{class name: count}``, whose order says nothing about the labels."""
    return isinstance(counts, Mapping) and 'instance_counts' not in counts


def missing_names_error(where: str) -> ClassDistributionError:
    """Return the error of counts by class name that cannot be put in label order, for lack of class names."""
    return ClassDistributionError(
        f'Expected class names in {where} to put the `class_counts` by name in label order, but it has none. Give '
        '`class_counts` as a list in label order.'
    )


def read_counts(source: Any) -> Any:
    """Read the list or dictionary of a json or npy file; return anything but a path as it is."""
    if not isinstance(source, (str, Path)):
        return source
    path = Path(source)
    if not path.is_file():
        problem = 'is a folder' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(
            f'Expected class counts as a list, {{class name: count}}, ClassDistribution, or .json or .npy file, but '
            f'the file {path} {problem}.'
        )
    try:
        if path.suffix == '.npy':
            return read_array(path)
        if path.suffix == '.json':
            return read_json(path, object_pairs_hook=_distinct)
    except DataFileError as e:
        raise ClassDistributionError(f'Cannot read class counts: {e}') from None
    raise ClassDistributionError(f'Expected a .json or .npy file of class counts, but got {path}.')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the dictionary of a json file, without a key that occurs twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(f'{next(name for name in content if names.count(name) > 1)!r} occurs twice')
    return content
