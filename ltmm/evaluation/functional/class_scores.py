"""Recall, precision and F1 of each class, counted without a confusion matrix."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ['ClassScores', 'class_scores', 'geometric_mean', 'harmonic_mean', 'label_ranks']


@dataclass(frozen=True, eq=False)
class ClassScores:
    """How often each class was there, was predicted, and was predicted rightly.

    A class without a test sample has no recall and no F1 (NaN), so it cannot slip into a mean; a class that has test
    samples and is never predicted has precision 0.

    Args:
        support: test samples of each class, (C,).
        predicted: predictions of each class, (C,).
        hits: right predictions of each class, (C,).
    """

    support: np.ndarray
    predicted: np.ndarray
    hits: np.ndarray

    @property
    def tested(self) -> np.ndarray:
        """Whether the class has a test sample, (C,): all means run over these classes."""
        return self.support > 0

    @property
    def recall(self) -> np.ndarray:
        """Accuracy on the samples of each class, (C,)."""
        return self._share(self.hits, self.support)

    @property
    def precision(self) -> np.ndarray:
        """Share of the predictions of each class that are right, (C,)."""
        return self._share(self.hits, np.maximum(self.predicted, 1))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of recall and precision, (C,)."""
        return self._share(2 * self.hits, self.support + self.predicted)

    @property
    def accuracy(self) -> float:
        """Share of all samples that are predicted rightly."""
        return float(self.hits.sum() / self.support.sum())

    def _share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        share = np.full(len(self.support), np.nan)
        return np.divide(part, whole, out=share, where=self.tested)


def class_scores(pred: np.ndarray, label: np.ndarray, num_classes: int) -> ClassScores:
    """Count the predictions.

    Args:
        pred: predicted classes, (N,).
        label: true classes, (N,).
        num_classes: C.

    Raises:
        ValueError: no sample, or a prediction or label outside [0, C).
    """
    pred, label = np.asarray(pred), np.asarray(label)
    if not len(label) or pred.shape != label.shape:
        raise ValueError(f'Expected one prediction a label and at least one, but got {pred.shape} and {label.shape}.')
    for name, values in (('pred', pred), ('label', label)):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(
                f'Expected `{name}` to be in [0, {num_classes}), but got values from {values.min()} to {values.max()}.'
            )
    return ClassScores(
        support=np.bincount(label, minlength=num_classes),
        predicted=np.bincount(pred, minlength=num_classes),
        hits=np.bincount(label[pred == label], minlength=num_classes),
    )


def harmonic_mean(recall: np.ndarray, floor: float) -> float:
    """Harmonic mean of the recalls, which the worst class dominates.

    Args:
        recall: recalls, (C,).
        floor: smaller recalls are raised to this, so that one class at 0 does not hide all others.
    """
    return float(len(recall) / (1 / np.maximum(recall, floor)).sum())


def geometric_mean(recall: np.ndarray, floor: float) -> float:
    """Geometric mean of the recalls.

    Args:
        recall: recalls, (C,).
        floor: as in :func:`harmonic_mean`.
    """
    return float(np.exp(np.log(np.maximum(recall, floor)).mean()))


def label_ranks(scores: Tensor, label: Tensor) -> Tensor:
    """How many classes stand before the true one, (N,): the sample counts for top-k where this is below k.

    Of equal scores the lower class index stands first, as in ``argmax``; constant scores thus predict class 0.

    Args:
        scores: (N, C).
        label: class indices, (N,).
    """
    own = scores.gather(1, label[:, None])  # (N, 1)
    earlier = torch.arange(scores.size(1), device=scores.device) < label[:, None]  # (N, C)
    return ((scores > own) | ((scores == own) & earlier)).sum(1)
