"""The result of a multi-label evaluation, class by class."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import Shots
from ltmm.evaluation.functional import ClassScores, average_precision, mean_by_shot

from .class_csv import class_csv

__all__ = ['MultiLabelReport']

COLUMNS = ('label', 'name', 'train_images', 'shot', 'test_images', 'ap', 'recall', 'precision', 'f1')
GROUPS = dict(many='head', medium='medium', few='tail')


@dataclass(frozen=True, eq=False)
class MultiLabelReport:
    """Figures of each class in label order, as shares; NaN for a class without a positive test image.

    Args:
        names: C class names.
        train_images: training images of each class, (C,).
        shots: which classes are head, medium and tail.
        ap: average precision, (C,).
        counts: how often each class was there, was predicted, and was predicted rightly.
    """

    names: tuple[str, ...]
    train_images: np.ndarray
    shots: Shots
    ap: np.ndarray
    counts: ClassScores

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
        return cls(names, train_images, shots, average_precision(scores, target), counts)

    def figures(self) -> dict[str, float]:
        """Means, as shares; NaN for a group without a tested class."""
        counts, tested = self.counts, self.counts.tested
        of_group = mean_by_shot(self.ap, self.shots)
        answers = (counts.support + counts.predicted).sum()
        return dict(
            mAP=float(self.ap[tested].mean()) if tested.any() else float('nan'),
            **{GROUPS[name]: value for name, value in of_group.items()},
            micro_f1=float(2 * counts.hits.sum() / max(answers, 1)),
            macro_f1=float(counts.f1[tested].mean()) if tested.any() else float('nan'),
        )

    def to_csv(self) -> str:
        """The text of a CSV file in percent, most frequent class first; a figure that does not exist is left empty."""
        groups = [GROUPS[name] for name in self.shots.names()]
        figures = 100 * np.stack([self.ap, self.counts.recall, self.counts.precision, self.counts.f1], axis=1)  # (C, 4)
        order = np.argsort(-self.train_images, kind='stable').tolist()
        rows = ((c, self.names[c], self.train_images[c], groups[c], self.counts.support[c]) for c in order)
        return class_csv(COLUMNS, rows, figures)
