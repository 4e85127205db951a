"""The result of an evaluation, class by class: what the metric writes and the analysis tools read."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import ClassDistribution, Shots
from ltmm.evaluation.functional import ClassScores, mean_by_shot

from .shot_report import ShotReport

__all__ = ['PerClassReport']


@dataclass(frozen=True, eq=False)
class PerClassReport(ShotReport):
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
    figure_names = ('recall', 'precision', 'f1')
    kind = 'a per-class CSV'

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

    @property
    def value(self) -> np.ndarray:
        """What runs are compared by, (C,)."""
        return self.recall

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
