"""The figures of a single-label classifier on long-tailed data, from counts per class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ltmm.class_distribution import Shots

from .class_scores import ClassScores, geometric_mean, harmonic_mean, label_ranks
from .shots import mean_by_shot

__all__ = ['LongTailStatistics', 'predictions_and_ranks']


@dataclass(frozen=True, eq=False)
class LongTailStatistics:
    """Counts over a test set, from which all figures follow; counts of its parts add up.

    Args:
        scores: Counts per class.
        hits: ``{k: images whose true class is among the k highest scores}``.
    """

    scores: ClassScores
    hits: Mapping[int, int]

    def figures(self, shots: Shots, recall_floor: float) -> dict[str, float]:
        """Compute all figures in percent; a group of classes without test images is left out.

        Args:
            shots: The many-, medium- and few-shot classes.
            recall_floor: Lower bound of the recalls in the harmonic and the geometric mean.
        """
        tested = self.scores.tested
        recall = self.scores.recall[tested]
        by_shot = mean_by_shot(100 * self.scores.recall, shots)
        return dict(
            **{f'top{k}': 100 * (hits / int(self.scores.support.sum())) for k, hits in self.hits.items()},
            **{name: value for name, value in by_shot.items() if not np.isnan(value)},
            balanced_accuracy=float((100 * recall).mean()),
            macro_precision=float((100 * self.scores.precision[tested]).mean()),
            macro_f1=float((100 * self.scores.f1[tested]).mean()),
            harmonic_mean=100 * harmonic_mean(recall, recall_floor),
            geometric_mean=100 * geometric_mean(recall, recall_floor),
            lowest_recall=float((100 * recall).min()),
        )


def predictions_and_ranks(scores: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted class and the rank of the true class, from 0, per image, (N,) and (N,).

    Args:
        scores: Scores, (N, C).
        label: Class indices, (N,).
    """
    return scores.argmax(1), label_ranks(scores, label)
