"""The result of a multi-label evaluation, class by class: what the metric writes and the analysis tools read."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import Shots
from ltmm.evaluation.functional import ClassScores, average_precision, mean_by_shot

from .shot_report import ShotReport

__all__ = ['MultiLabelReport']


@dataclass(frozen=True, eq=False)
class MultiLabelReport(ShotReport):
    """Figures of each class, in label order and in percent; NaN for a class without a positive test image.

    Args:
        names: C class names.
        train_images: training images of each class, (C,).
        shots: which classes are head, medium and tail.
        test_images: positive test images of each class, (C,).
        ap: average precision, (C,).
        recall: share of its positive test images that each class is predicted for, (C,).
        precision: share of the predictions of each class that are right, (C,).
        f1: harmonic mean of the two, (C,).
        micro_f1: F1 of all labels together; None where it is not known, as of a file.
    """

    value_name = 'average precision'  # what runs are compared by
    figure_names = ('ap', 'recall', 'precision', 'f1')
    group_names = dict(many='head', medium='medium', few='tail')
    kind = 'a per-class CSV of MultiLabelMetric'

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
        """From the scores of a test set.

        Args:
            scores: (N, C).
            target: 1 positive, 0 negative, -1 unknown and left out, (N, C).
            thr: classes that score at least this are predicted.
            names: see the class.
            train_images: see the class.
            shots: see the class.
        """
        is_positive, is_predicted = target == 1, (scores >= thr) & (target != -1)
        counts = ClassScores(
            support=is_positive.sum(0), predicted=is_predicted.sum(0), hits=(is_positive & is_predicted).sum(0)
        )
        answers = (counts.support + counts.predicted).sum()
        return cls(
            names,
            train_images,
            shots,
            counts.support,
            100 * average_precision(scores, target),
            100 * counts.recall,
            100 * counts.precision,
            100 * counts.f1,
            100 * float(2 * counts.hits.sum() / max(answers, 1)),
        )

    @property
    def value(self) -> np.ndarray:
        """What runs are compared by, (C,)."""
        return self.ap

    def figures(self) -> dict[str, float]:
        """Means in percent; NaN for a group without a tested class."""
        tested = self.test_images > 0
        return dict(
            mAP=float(self.ap[tested].mean()) if tested.any() else float('nan'),
            **{self.group_names[name]: value for name, value in mean_by_shot(self.ap, self.shots).items()},
            **({} if self.micro_f1 is None else dict(micro_f1=self.micro_f1)),
            macro_f1=float(self.f1[tested].mean()) if tested.any() else float('nan'),
        )
