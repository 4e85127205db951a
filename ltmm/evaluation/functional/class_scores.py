"""Recall, precision and F1 per class, without a confusion matrix."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.errors import InputError

__all__ = ['ClassScores', 'class_scores', 'geometric_mean', 'harmonic_mean', 'label_ranks']


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Counts per class, and the figures that follow from them.

    All figures of a class without test samples are NaN; the precision of a class that is never predicted is 0.

    Args:
        support: Test samples per class, (C,).
        predicted: Predictions per class, (C,).
        hits: Correct predictions per class, (C,).
    """

    support: np.ndarray
    predicted: np.ndarray
    hits: np.ndarray

    @property
    def tested(self) -> np.ndarray:
        """Whether the class has test samples, (C,)."""
        return self.support > 0

    @property
    def recall(self) -> np.ndarray:
        """Share of the samples of each class that are predicted correctly, (C,)."""
        return self._share(self.hits, self.support)

    @property
    def precision(self) -> np.ndarray:
        """Share of the predictions of each class that are correct, (C,)."""
        return self._share(self.hits, np.maximum(self.predicted, 1))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of recall and precision, (C,)."""
        return self._share(2 * self.hits, self.support + self.predicted)

    @property
    def accuracy(self) -> float:
        """Share of all samples that are predicted correctly."""
        return float(self.hits.sum() / self.support.sum())

    def _share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        share = np.full(len(self.support), np.nan)
        return np.divide(part, whole, out=share, where=self.tested)


def class_scores(pred: np.ndarray, label: np.ndarray, num_classes: int) -> ClassScores:
    """Count labels, predictions and correct predictions per class.

    Args:
        pred: Predicted classes, (N,).
        label: True classes, (N,).
        num_classes: C.
    """
    pred, label = np.asarray(pred), np.asarray(label)
    if not len(label) or pred.shape != label.shape:
        raise InputError(f'Expected as many predictions as labels, at least one; got {pred.shape} and {label.shape}.')
    for name, values in (('pred', pred), ('label', label)):
        if values.min() < 0 or values.max() >= num_classes:
            low, high = values.min(), values.max()
            raise InputError(f'Expected `{name}` to be in [0, {num_classes}), but got values from {low} to {high}.')
    return ClassScores(
        support=np.bincount(label, minlength=num_classes),
        predicted=np.bincount(pred, minlength=num_classes),
        hits=np.bincount(label[pred == label], minlength=num_classes),
    )


def harmonic_mean(recall: np.ndarray, floor: float) -> float:
    """Harmonic mean over the classes, dominated by the worst.

    Args:
        recall: Recall per class, (C,).
        floor: Lower bound of the recalls, so that one class at 0 does not decide the mean.
    """
    return float(len(recall) / (1 / np.maximum(recall, floor)).sum())


def geometric_mean(recall: np.ndarray, floor: float) -> float:
    """Geometric mean over the classes.

    Args:
        recall: Recall per class, (C,).
        floor: Lower bound of the recalls.
    """
    return float(np.exp(np.log(np.maximum(recall, floor)).mean()))


def label_ranks(scores: Tensor, label: Tensor) -> Tensor:
    """Rank of the true class among the scores, from 0, (N,); a rank below k is a top-k hit.

    Ties go to the lower class index, as in ``argmax``.

    Args:
        scores: Scores, (N, C).
        label: Class indices, (N,).
    """
    own = scores.gather(1, label[:, None])  # (N, 1)
    earlier = torch.arange(scores.size(1), device=scores.device) < label[:, None]  # (N, C)
    return ((scores > own) | ((scores == own) & earlier)).sum(1)
