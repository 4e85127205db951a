"""Whether a classifier is as sure as it is right.

[0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.
[1] github.com/dvlab-research/MiSLAS, `calibration`.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ['CalibrationBins', 'calibration_bins', 'expected_calibration_error', 'maximum_calibration_error']


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Samples in bins of equal width by confidence; all figures of an empty bin are 0.

    Args:
        accuracy: share of right predictions in each bin, (B,).
        confidence: mean confidence in each bin, (B,).
        count: samples in each bin, (B,).
    """

    accuracy: np.ndarray
    confidence: np.ndarray
    count: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """How far confidence is from accuracy in each bin, (B,)."""
        return np.abs(self.accuracy - self.confidence)


def calibration_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> CalibrationBins:
    """Sort samples into the bins (0, 1/B], (1/B, 2/B], ..., as [1] does; a confidence of exactly 0 is in none.

    Args:
        confidence: probability of the predicted class, in [0, 1], (N,).
        correct: whether the prediction is right, (N,).
        num_bins: B, 15 in [1].

    Raises:
        ValueError: a confidence outside [0, 1], or NaN.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(
            f'Expected `confidence` to be in [0, 1], but got values from {confidence.min()} to {confidence.max()}.'
        )
    bins = np.digitize(confidence, np.linspace(0, 1, num_bins + 1), right=True)  # 0 for confidence 0, else 1..B
    count, accuracy, mean = (
        np.bincount(bins, weights, minlength=num_bins + 1)[1:] for weights in (None, correct, confidence)
    )
    filled = np.maximum(count, 1)
    return CalibrationBins(accuracy / filled, mean / filled, count)


def expected_calibration_error(bins: CalibrationBins) -> float:
    """Mean gap over the samples (ECE)."""
    return float((bins.gap * bins.count).sum() / bins.count.sum())


def maximum_calibration_error(bins: CalibrationBins) -> float:
    """Largest gap of a bin (MCE)."""
    return float(bins.gap.max())
