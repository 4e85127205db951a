"""What the reports of image classification have in common: a CSV file of figures, and the groups of classes."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from ltmm.class_distribution import SHOT_NAMES, Shots

from .class_csv import class_csv, read_class_csv

__all__ = ['ShotReport']


class ShotReport:
    """Base of dataclasses that begin with names, train_images, shots and test_images and go on with the figures."""

    figure_names: ClassVar[tuple[str, ...]]  # fields of the figures, in their order
    group_names: ClassVar[dict[str, str]] = {name: name for name in SHOT_NAMES}  # what shots are called in the file
    kind: ClassVar[str]  # what such a file is called

    names: tuple[str, ...]
    train_images: np.ndarray
    shots: Shots
    test_images: np.ndarray

    @classmethod
    def read(cls, path: Path) -> 'ShotReport':
        """From the file that :meth:`to_csv` describes.

        Raises:
            ValueError: another file.
        """
        rows = read_class_csv(path, cls._columns(), cls.kind)
        shot = np.array([row['shot'] for row in rows])
        return cls(
            tuple(row['name'] for row in rows),
            np.array([int(row['train_images']) for row in rows]),
            Shots(*(shot == cls.group_names[name] for name in SHOT_NAMES)),
            np.array([int(row['test_images']) for row in rows]),
            *(np.array([float(row[key] or 'nan') for row in rows]) for key in cls.figure_names),
        )

    def to_csv(self) -> str:
        """The text of a CSV file, most frequent class first; a figure that does not exist is left empty."""
        groups = [self.group_names[name] for name in self.shots.names()]
        order = np.argsort(-self.train_images, kind='stable').tolist()
        rows = ((c, self.names[c], self.train_images[c], groups[c], self.test_images[c]) for c in order)
        return class_csv(self._columns(), rows, np.stack([getattr(self, key) for key in self.figure_names], axis=1))

    def groups(self) -> list[tuple[str, np.ndarray]]:
        """Names and masks, (C,), of the groups of classes, most frequent first."""
        return [(self.group_names[name], mask) for name, mask in self.shots.items()]

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return ('label', 'name', 'train_images', 'shot', 'test_images', *cls.figure_names)
