"""Labels of images from the columns of a CSV file."""

import logging
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from ltmm.datasets.files import MAX_DIGITS
from ltmm.utils.errors import InputError, did_you_mean

from .csv_table import CSVTable, shorten
from .label_states import NEGATIVE, POSITIVE, UNKNOWN

__all__ = ['NO_LABEL', 'CSVLabels', 'find_columns', 'label_names', 'read_csv_labels']

IMAGE_COLUMNS = ('image', 'images', 'path', 'img', 'file', 'filename', 'filepath', 'imagepath', 'imgpath', 'imagename')
LABEL_COLUMNS = ('label', 'labels', 'class', 'classname', 'category', 'target')
NO_LABEL = ('', '-1', '-1.0', 'u', 'nan')  # in lower case
STATES = {
    **dict.fromkeys(('1', '1.0', 'true', 'yes'), POSITIVE),
    **dict.fromkeys(('0', '0.0', 'false', 'no'), NEGATIVE),
    **dict.fromkeys(NO_LABEL, UNKNOWN),
}


class CSVLabels(NamedTuple):
    """Images and labels of a CSV file.

    Args:
        names: Path of each image as written, N.
        classes: Class names, C.
        labels: (N,) int64 of single-label, or states (N, C) int8 of multi-label data: 1 positive, 0 negative,
            -1 unknown.
    """

    names: list[str]
    classes: tuple[str, ...]
    labels: np.ndarray


class Columns(NamedTuple):
    """Indices of the columns that are read; several ``labels`` are one per class."""

    image: int
    labels: list[int]
    per_class: bool


def read_csv_labels(
    table: CSVTable,
    image_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    multi_label: bool | None = None,
    separator: str = '|',
    unlisted_as: int = NEGATIVE,
    no_class: str = 'none',
    classes: Sequence[str] | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
) -> CSVLabels:
    """Read images and labels from the cells of a CSV file; see :class:`ltmm.CSVDataset` for the arguments.

    Classes that are not given are found in all rows, those that ``where`` leaves out too.
    """
    where = where or {}
    columns = find_columns(table, image_column, label_column, where, classes)
    selected = table.where(**where)
    if columns.per_class:
        if multi_label is False:
            raise InputError(
                f'{table.path}: multi_label=False needs one `label_column`, but got {len(columns.labels)} columns.'
            )
        return _read_states(selected, columns, classes)
    cells = [row[columns.labels[0]] for row in table.rows]
    if multi_label is None:
        multi_label = bool(separator) and any(separator in cell for cell in cells)
    if multi_label:
        lists = [split_labels(cell, separator) for cell in cells]
        classes = label_names((name for names in lists for name in names if name != no_class), classes)
        return _read_lists(selected, columns, classes, separator, unlisted_as, no_class)
    return _read_single(selected, columns, label_names(cells, classes))


def label_names(cells: Iterable[str], classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the given classes, or else those of the cells: sorted, numbers by value."""
    if classes is not None:
        return tuple(map(str, classes))
    names = {cell for cell in cells if cell.lower() not in NO_LABEL}
    is_numbers = all(name.isdecimal() and len(name) <= MAX_DIGITS for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if is_numbers else name))


def find_columns(
    table: CSVTable,
    image_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    where: Mapping = types.MappingProxyType({}),
    classes: Sequence[str] | None = None,
) -> Columns:
    """Find the columns of the image and the labels; see :class:`ltmm.CSVDataset` for the arguments."""
    names = table.columns
    plain = [''.join(filter(str.isalnum, name.lower())) for name in names]
    if image_column is not None:
        image = table.index(image_column)
    else:  # without a name: the index that pandas writes
        named = [i for i, name in enumerate(names) if name] or [0]
        image = next((i for i in named if plain[i] in IMAGE_COLUMNS), named[0])
    if isinstance(label_column, str):
        return Columns(image, [table.index(label_column)], per_class=False)
    if label_column is not None:
        return Columns(image, [table.index(name) for name in label_column], per_class=True)
    others = [i for i, name in enumerate(names) if i != image and name and name not in where]
    if not others:
        raise InputError(
            f'{table.path} has one column, {names[image]!r}; expected the label of each image in another. Set '
            '`delimiter` if it is neither comma, semicolon nor tab.'
        )
    if classes is not None and set(map(str, classes)) <= {names[i] for i in others}:
        return Columns(image, [names.index(str(name)) for name in classes], per_class=True)
    label = [i for i in others if plain[i] in LABEL_COLUMNS]
    if len(others) == 1 or len(label) == 1:
        return Columns(image, label or others, per_class=False)
    return Columns(image, others, per_class=True)


def _read_states(table: CSVTable, columns: Columns, classes: Sequence[str] | None) -> CSVLabels:
    """Read one column per class."""
    names, labels = [table.columns[i] for i in columns.labels], columns.labels
    if classes is not None:
        classes = list(map(str, classes))
        if set(classes) & set(names):
            labels = [table.index(name) for name in classes]
        elif len(classes) != len(names):
            raise InputError(f'{table.path} has {len(names)} columns of labels, but `classes` names {len(classes)}.')
        names = classes
    states = np.empty((len(table.rows), len(labels)), dtype=np.int8)
    for i, (row, line) in enumerate(zip(table.rows, table.lines)):
        for j, column in enumerate(labels):
            state = STATES.get(row[column].lower())
            if state is None:
                raise InputError(
                    f'{table.path}, line {line}, column {table.columns[column]!r}: expected 1, 0, or blank, -1 or U '
                    f'for unknown, but got {shorten(row[column])!r}. If the column is no class, set `label_column` to '
                    'that of the label, or to the list of those of the classes (--classes of the tools).'
                )
            states[i, j] = state
    return _without_repeated(table, columns, tuple(names), states)


def _read_single(table: CSVTable, columns: Columns, classes: tuple[str, ...]) -> CSVLabels:
    """Read one label per image; rows without a label are left out."""
    labels, rows = _indices(table, columns, classes), []
    for i, row in enumerate(table.rows):
        cell = row[columns.labels[0]]
        if cell in labels or cell.lower() not in NO_LABEL:
            rows.append(i)
    if len(rows) < len(table.rows):
        left_out = sorted(set(range(len(table.rows))) - set(rows))
        print_log(
            f'{table.path}: {len(left_out)} of {len(table.rows)} rows have no label (blank, -1 or U) and are left out, '
            f'line {table.lines[left_out[0]]} first.',
            'current',
            logging.WARNING,
        )
    if not rows:
        raise InputError(f'{table.path}: no row has a label in the column {table.columns[columns.labels[0]]!r}.')
    table = table.take(rows)
    cells = [row[columns.labels[0]] for row in table.rows]
    found = [_label(cell, labels, table, i) for i, cell in enumerate(cells)]
    return _without_repeated(table, columns, classes, np.array(found, dtype=np.int64))


def _read_lists(
    table: CSVTable, columns: Columns, classes: tuple[str, ...], separator: str, unlisted_as: int, no_class: str
) -> CSVLabels:
    """Read a list of labels per image; the labels of several rows of an image are united."""
    labels, images = _indices(table, columns, classes), {}
    states = np.full((len(table.rows), len(classes)), UNKNOWN, dtype=np.int8)
    for i, row in enumerate(table.rows):
        cell = row[columns.labels[0]]
        if cell not in labels and cell.lower() in NO_LABEL:
            continue
        states[i] = unlisted_as
        names = split_labels(cell, separator)
        if names == [no_class] and no_class not in labels:
            states[i] = NEGATIVE
            continue
        for name in names:
            states[i, _label(name, labels, table, i)] = POSITIVE
    for i, row in enumerate(table.rows):
        images.setdefault(row[columns.image], []).append(i)
    states = np.stack([states[rows].max(axis=0) for rows in images.values()])
    return CSVLabels(list(images), classes, states)


def split_labels(cell: str, separator: str) -> list[str]:
    """Split ``'a|b'`` into names."""
    parts = cell.split(separator) if separator else [cell]
    return [part.strip() for part in parts if part.strip()]


def _indices(table: CSVTable, columns: Columns, classes: tuple[str, ...]) -> dict[str, int]:
    """Return the label of each name; of each number too, if names are given and no cell is a name."""
    labels = {name: label for label, name in enumerate(classes)}
    if len(labels) < len(classes):
        repeated = next(name for i, name in enumerate(classes) if name in classes[:i])
        raise InputError(f'{table.path}: two classes are called {repeated!r}.')
    if not any(row[columns.labels[0]] in labels for row in table.rows):
        labels |= {str(label): label for label in range(len(classes))}
    return labels


def _label(name: str, labels: Mapping[str, int], table: CSVTable, row: int) -> int:
    if name not in labels:
        known = [key for key in labels if not key.isdecimal()] or list(labels)
        raise InputError(
            f'{table.path}, line {table.lines[row]}: {shorten(name)!r} is not one of the {len(set(labels.values()))} '
            f'classes.{did_you_mean(name, known)}'
        )
    return labels[name]


def _without_repeated(table: CSVTable, columns: Columns, classes: tuple[str, ...], labels: np.ndarray) -> CSVLabels:
    """Drop rows that repeat an image with the same labels; refuse other labels."""
    first: dict[str, int] = {}
    for i, row in enumerate(table.rows):
        name = row[columns.image]
        if not np.array_equal(labels[i], labels[first.setdefault(name, i)]):
            remedy = '' if columns.per_class else ' If images have several labels, set multi_label=True.'
            raise InputError(
                f'{table.path}, line {table.lines[i]}: {shorten(name)} has another label than in line '
                f'{table.lines[first[name]]}.{remedy}'
            )
    if len(first) < len(table.rows):
        print_log(
            f'{table.path}: {len(table.rows) - len(first)} of {len(table.rows)} rows repeat an image and are left out.',
            'current',
            logging.WARNING,
        )
    return CSVLabels(list(first), classes, labels[list(first.values())])
