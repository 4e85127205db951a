"""Base class for per-class results, which metrics write as CSV and the analysis tools read."""

import csv
import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ltmm.class_distribution import SHOT_NAMES, Shots
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

__all__ = ['ClassReport']


class ClassReport:
    """Base class for dataclasses of figures per class, in label order and in percent; NaN for classes not tested."""

    figure_names: ClassVar[tuple[str, ...]]  # fields with the figures; runs are compared by the first
    value_name: ClassVar[str]  # description of the first figure
    metric: ClassVar[str]  # the metric that writes the file
    count_names: ClassVar[tuple[str, ...]] = ('test_images',)
    group_column: ClassVar[str] = 'shot'
    group_names: ClassVar[dict[str, str]] = {name: name for name in SHOT_NAMES}  # names in the file

    names: tuple[str, ...]
    train_images: np.ndarray | None
    shots: Shots
    test_images: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> 'ClassReport':
        """Read the file that :meth:`to_csv` describes."""
        try:
            return cls._parse(path, list(csv.DictReader(io.StringIO(read_text(path), newline=''))))
        except InputError:
            raise
        except (ValueError, TypeError, OverflowError, csv.Error) as e:  # a cell is no number, too large or missing
            raise InputError(f'{path} is damaged: {e}.') from None

    @classmethod
    def _parse(cls, path: str | Path, rows: list[dict[str, str]]) -> 'ClassReport':
        if not rows or tuple(rows[0]) != cls._columns():
            raise InputError(
                f'Expected {path} to be a per-class CSV of {cls.metric}, with the columns {", ".join(cls._columns())}.'
            )
        rows.sort(key=lambda row: int(row['label']))
        column = {key: [row[key] for row in rows] for key in cls._columns()}
        if column['label'] != [str(c) for c in range(len(rows))]:
            raise InputError(f'Expected one row for each class in {path}, with the labels 0 to {len(rows) - 1}.')
        groups = tuple(cls.group_names.values())
        if other := sorted(set(column[cls.group_column]).difference(groups)):
            raise InputError(f'Expected {cls.group_column} in {path} to be one of {groups}, but got {other[0]!r}.')
        return cls(
            names=tuple(column['name']),
            train_images=np.array(column['train_images'], dtype=int) if all(column['train_images']) else None,
            **cls._parse_groups(np.array(column[cls.group_column])),
            **{key: np.array(column[key], dtype=int) for key in cls.count_names},
            **{key: np.array([float(text or 'nan') for text in column[key]]) for key in cls.figure_names},
        )

    def to_csv(self) -> str:
        """Return the text of a CSV file, one row per class, most frequent first; unknown values and NaN are empty."""
        group = np.empty(len(self.names), dtype=object)
        for name, mask in self.groups():
            group[mask] = name
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(self._columns())
        rank = np.array([list(self.group_names.values()).index(name) for name in group])
        images = np.zeros(len(rank)) if self.train_images is None else self.train_images
        for c in np.lexsort((-images, rank)).tolist():
            train_images = '' if self.train_images is None else self.train_images[c]
            counts = [getattr(self, key)[c] for key in self.count_names]
            figures = [getattr(self, key)[c] for key in self.figure_names]
            figures = ['' if np.isnan(figure) else f'{figure:.4f}' for figure in figures]
            writer.writerow([c, self.names[c], train_images, group[c], *counts, *figures])
        return text.getvalue()

    @property
    def value(self) -> np.ndarray:
        """The figure by which runs are compared, (C,)."""
        return getattr(self, self.figure_names[0])

    def groups(self) -> list[tuple[str, np.ndarray]]:
        """Names and masks, (C,), of the groups of classes, most frequent first."""
        return [(self.group_names[name], mask) for name, mask in self.shots.items()]

    def figures(self) -> dict[str, float]:
        """Means over the tested classes, in percent; NaN for a group without a tested class."""
        raise NotImplementedError

    @classmethod
    def _parse_groups(cls, names: np.ndarray) -> dict[str, Any]:
        """Convert the group column into the field that holds the groups."""
        return dict(shots=Shots(*(names == cls.group_names[name] for name in SHOT_NAMES)))

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return ('label', 'name', 'train_images', cls.group_column, *cls.count_names, *cls.figure_names)
