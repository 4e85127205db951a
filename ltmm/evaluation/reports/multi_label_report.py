"""Per-class results of a multi-label classifier."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import Shots
from ltmm.evaluation.functional import ClassScores, average_precision, mean_by_shot

from .class_report import ClassReport

__all__ = ['MultiLabelReport']


@dataclass(frozen=True, eq=False)
class MultiLabelReport(ClassReport):
    """Average precision and F1 per class, in label order and in percent; NaN for classes without positive test images.

    Args:
        names: C class names.
        train_images: Training images per class, (C,).
        shots: The head, medium and tail classes.
        test_images: Positive test images per class, (C,).
        ap: Average precision, (C,).
        recall: Share of the positive test images for which the class is predicted, (C,).
        precision: Share of the predictions of each class that are correct, (C,).
        f1: Harmonic mean of recall and precision, (C,).
        micro_f1: F1 over the labels of all classes; None in a report read from a file.
    """

    value_name = 'average precision'
    metric = 'MultiLabelMetric'
    figure_names = ('ap', 'recall', 'precision', 'f1')
    group_names = dict(many='head', medium='medium', few='tail')

    names: tuple[str, ...]
    train_images: np.ndarray
    shots: Shots
    test_images: np.ndarray
    ap: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    micro_f1: float | None = None

    @classmethod
    def from_scores(
        cls,
        scores: np.ndarray,
        target: np.ndarray,
        thr: float,
        names: tuple[str, ...],
        train_images: np.ndarray,
        shots: Shots,
    ) -> 'MultiLabelReport':
        """Compute the figures of a test set.

        Args:
            scores: Scores, (N, C).
            target: 1 positive, 0 negative, -1 unknown and ignored, (N, C).
            thr: A class is predicted if its score is at least this.
            names: C class names.
            train_images: Training images per class, (C,).
            shots: The groups of classes.
        """
        is_positive, is_predicted = target == 1, (scores >= thr) & (target != -1)
        counts = ClassScores(
            support=is_positive.sum(0), predicted=is_predicted.sum(0), hits=(is_positive & is_predicted).sum(0)
        )
        total = (counts.support + counts.predicted).sum()
        figures = (average_precision(scores, target), counts.recall, counts.precision, counts.f1)
        return cls(
            names,
            train_images,
            shots,
            counts.support,
            *(100 * figure for figure in figures),
            micro_f1=100 * float(2 * counts.hits.sum() / max(total, 1)),
        )

    def figures(self) -> dict[str, float]:
        tested = self.test_images > 0
        return dict(
            mAP=float(self.ap[tested].mean()) if tested.any() else float('nan'),
            **{self.group_names[name]: value for name, value in mean_by_shot(self.ap, self.shots).items()},
            **({} if self.micro_f1 is None else dict(micro_f1=self.micro_f1)),
            macro_f1=float(self.f1[tested].mean()) if tested.any() else float('nan'),
        )
