"""Per-class results of a single-label classifier."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import ClassDistribution, Shots
from ltmm.evaluation.functional import ClassScores, mean_by_shot

from .class_report import ClassReport

__all__ = ['PerClassReport']


@dataclass(frozen=True, eq=False)
class PerClassReport(ClassReport):
    """Recall, precision and F1 per class, in label order and in percent; NaN for classes without test images.

    Args:
        names: C class names.
        train_images: Training images per class, (C,).
        shots: The many-, medium- and few-shot classes.
        test_images: Test images per class, (C,).
        recall: Accuracy on the images of each class, (C,).
        precision: Share of the predictions of each class that are correct, (C,).
        f1: Harmonic mean of recall and precision, (C,).
    """

    value_name = 'accuracy on the class'
    metric = 'LongTailMetric'
    figure_names = ('recall', 'precision', 'f1')

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
        """Build the report from counts.

        Args:
            scores: Counts of the test set.
            distribution: Class distribution of the training data.
            shots: The groups of classes.
            names: C class names. Default: those of ``distribution``, else the labels.
        """
        names = names or distribution.class_names or map(str, range(len(distribution)))
        figures = (100 * scores.recall, 100 * scores.precision, 100 * scores.f1)
        return cls(tuple(names), distribution.image_counts, shots, scores.support, *figures)

    def figures(self) -> dict[str, float]:
        tested = self.test_images > 0
        recall, images = self.recall[tested], self.test_images[tested]
        return dict(
            top1=float(recall @ images / images.sum()),
            **mean_by_shot(self.recall, self.shots),
            balanced_accuracy=float(recall.mean()),
            lowest_recall=float(recall.min()),
        )
