"""The result of an evaluation, class by class: what the metric writes and the analysis tools read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltmm.class_distribution import SHOT_NAMES, ClassDistribution, Shots
from ltmm.evaluation.functional import ClassScores, mean_by_shot

from .class_csv import class_csv, read_class_csv

__all__ = ['PerClassReport']

COLUMNS = ('label', 'name', 'train_images', 'shot', 'test_images', 'recall', 'precision', 'f1')


@dataclass(frozen=True, eq=False)
class PerClassReport:
    """Figures of each class, in label order and in percent; NaN for a class without a test image.

    Args:
        names: C class names.
        train_images: training images of each class, (C,).
        shots: which classes are many-, medium- and few-shot.
        test_images: test images of each class, (C,).
        recall: accuracy on the images of each class, (C,).
        precision: share of the predictions of each class that are right, (C,).
        f1: harmonic mean of the two, (C,).
    """

    value_name = 'accuracy on the class'  # what runs are compared by

    names: tuple[str, ...]
    train_images: np.ndarray
    shots: Shots
    test_images: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray

    @classmethod
    def from_scores(
        cls, scores: ClassScores, distribution: ClassDistribution, shots: Shots, names: tuple[str, ...] | None = None
    ) -> 'PerClassReport':
        """From the counts of an evaluation.

        Args:
            scores: of the test set.
            distribution: of the training data.
            shots: groups of the classes.
            names: C class names; those of ``distribution`` when left out, or else the labels.
        """
        names = names or distribution.class_names or map(str, range(len(distribution)))
        return cls(
            tuple(names),
            distribution.image_counts,
            shots,
            scores.support,
            100 * scores.recall,
            100 * scores.precision,
            100 * scores.f1,
        )

    @classmethod
    def read(cls, path: Path) -> 'PerClassReport':
        """From the file that :meth:`to_csv` describes.

        Raises:
            ValueError: another file.
        """
        rows = read_class_csv(path, COLUMNS, 'a per-class CSV')
        shot = np.array([row['shot'] for row in rows])
        return cls(
            tuple(row['name'] for row in rows),
            np.array([int(row['train_images']) for row in rows]),
            Shots(*(shot == name for name in SHOT_NAMES)),
            np.array([int(row['test_images']) for row in rows]),
            *(np.array([float(row[key] or 'nan') for row in rows]) for key in ('recall', 'precision', 'f1')),
        )

    def to_csv(self) -> str:
        """The text of a CSV file, most frequent class first; a figure that does not exist is left empty."""
        shot = self.shots.names()
        order = np.argsort(-self.train_images, kind='stable').tolist()
        rows = ((c, self.names[c], self.train_images[c], shot[c], self.test_images[c]) for c in order)
        return class_csv(COLUMNS, rows, np.stack([self.recall, self.precision, self.f1], axis=1))

    @property
    def value(self) -> np.ndarray:
        """What runs are compared by, (C,)."""
        return self.recall

    def groups(self) -> list[tuple[str, np.ndarray]]:
        """Names and masks, (C,), of the groups of classes, most frequent first."""
        return self.shots.items()

    def figures(self) -> dict[str, float]:
        """What methods are compared by, in percent; NaN for a group without a tested class."""
        tested = self.test_images > 0
        recall, images = self.recall[tested], self.test_images[tested]
        return dict(
            top1=float(recall @ images / images.sum()),
            **mean_by_shot(self.recall, self.shots),
            balanced_accuracy=float(recall.mean()),
            lowest_recall=float(recall.min()),
        )
