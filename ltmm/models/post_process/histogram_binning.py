"""Histogram binning: replace probabilities by the frequencies of their bins."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .score_calibration import ScoreCalibration

__all__ = ['HistogramBinning', 'bin_frequencies']


def bin_frequencies(probability: Tensor, label: Tensor, num_bins: int) -> Tensor:
    """Share of samples of the class among those whose probability is in the bin, (C, B); empty: center of the bin.

    Args:
        probability: (N, C).
        label: Class indices, (N,).
        num_bins: B, of equal width, (l, u].
    """
    num_classes = probability.size(1)
    index = _bins(probability, num_bins)  # (N, C), into C B
    count = index.flatten().bincount(minlength=num_classes * num_bins)
    hits = index.gather(1, label[:, None]).flatten().bincount(minlength=num_classes * num_bins)
    center = (torch.arange(num_bins, dtype=torch.float64, device=count.device) + 0.5).repeat(num_classes) / num_bins
    return torch.where(count > 0, hits / count.clamp(min=1), center).view(num_classes, num_bins)


def _bins(probability: Tensor, num_bins: int) -> Tensor:
    """Index of bin and class in a flat table (C B,), (N, C)."""
    index = ((probability * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    return index + num_bins * torch.arange(probability.size(1), device=probability.device)


@MODELS.register_module()
class HistogramBinning(ScoreCalibration):
    """Replaces the probability of each class by the frequency of its bin in the validation split.

    Predictions may change: all probabilities of a bin become equal. A bin without validation samples gives its center.
    The split should have the class mix of the test set, and many images per class.

    References:
        [0] Zadrozny and Elkan, Obtaining Calibrated Probability Estimates from Decision Trees and Naive Bayesian
            Classifiers, ICML 2001.

    Args:
        num_bins: Bins of equal width per class.
    """

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__()
        check(num_bins=(num_bins, 'int >= 1'))
        self.num_bins = num_bins
        self.register_buffer('frequency', torch.zeros(0, dtype=torch.float64))  # (C, B)

    def fit_scores(self, cls_score: Tensor, label: Tensor) -> None:
        self.frequency = bin_frequencies(cls_score.softmax(1), label, self.num_bins)

    def calibrate(self, cls_score: Tensor) -> Tensor:
        return self.frequency.flatten()[_bins(cls_score.softmax(1), self.num_bins)]

    def settings(self) -> Mapping[str, Any]:
        return dict(num_bins=self.num_bins)
