"""The result of a detection test, class by class: what the metric writes and the analysis tools read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .class_csv import class_csv, read_class_csv

__all__ = ['FREQUENCIES', 'DetectionReport']

FREQUENCIES = dict(f='frequent', c='common', r='rare')
COLUMNS = ('label', 'name', 'train_images', 'frequency', 'test_images', 'test_instances', 'ap', 'ap50', 'ap_fixed')


@dataclass(frozen=True, eq=False)
class DetectionReport:
    """Figures of each class, in label order and in percent; NaN for a class without an object in the tested images.

    Args:
        names: C class names.
        train_images: training images of each class, (C,); None where they are not known.
        frequency: 'f', 'c' or 'r' of each class, (C,).
        test_images: tested images that hold the class, (C,).
        test_instances: its objects in them, (C,).
        ap: average precision over IoU thresholds from 0.5 to 0.95, (C,).
        ap50: average precision at an IoU of 0.5, (C,).
        ap_fixed: average precision of the 10,000 best detections of the class, (C,).
    """

    value_name = 'AP of the class'  # what runs are compared by

    names: tuple[str, ...]
    train_images: np.ndarray | None
    frequency: np.ndarray
    test_images: np.ndarray
    test_instances: np.ndarray
    ap: np.ndarray
    ap50: np.ndarray
    ap_fixed: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> 'DetectionReport':
        """From the file that :meth:`to_csv` describes.

        Raises:
            ValueError: another file.
        """
        rows = read_class_csv(path, COLUMNS, 'a per-class CSV of LVISMetric')
        known = all(row['train_images'] for row in rows)
        letter = {word: letter for letter, word in FREQUENCIES.items()}
        return cls(
            tuple(row['name'] for row in rows),
            np.array([int(row['train_images']) for row in rows]) if known else None,
            np.array([letter[row['frequency']] for row in rows]),
            *(np.array([int(row[key]) for row in rows]) for key in ('test_images', 'test_instances')),
            *(np.array([float(row[key] or 'nan') for row in rows]) for key in ('ap', 'ap50', 'ap_fixed')),
        )

    def to_csv(self) -> str:
        """The text of a CSV file, most frequent class first; what is not known or does not exist is left empty."""
        rank = np.array(['fcr'.index(letter) for letter in self.frequency])
        images = np.zeros(len(self.names)) if self.train_images is None else self.train_images
        figures = np.stack([self.ap, self.ap50, self.ap_fixed], axis=1)  # (C, 3)
        known = [''] * len(self.names) if self.train_images is None else self.train_images
        rows = (
            (c, self.names[c], known[c], FREQUENCIES[self.frequency[c]], self.test_images[c], self.test_instances[c])
            for c in np.lexsort((-images, rank)).tolist()
        )
        return class_csv(COLUMNS, rows, figures)

    @property
    def value(self) -> np.ndarray:
        """What runs are compared by, (C,)."""
        return self.ap

    def groups(self) -> list[tuple[str, np.ndarray]]:
        """Names and masks, (C,), of the groups of classes, most frequent first."""
        return [(word, self.frequency == letter) for letter, word in FREQUENCIES.items()]

    def figures(self) -> dict[str, float]:
        """What detectors are compared by, in percent; NaN for a group without a tested class."""
        groups = {f'AP{letter}': self.ap[self.frequency == letter] for letter in 'rcf'}
        groups = dict(AP=self.ap, AP50=self.ap50, **groups, AP_fixed=self.ap_fixed)
        tested = {name: values[~np.isnan(values)] for name, values in groups.items()}
        return {name: float(values.mean()) if len(values) else float('nan') for name, values in tested.items()}
