"""Isotonic regression from probabilities to frequencies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.environment import check_usable

from .score_calibration import ScoreCalibration
from .temperature_scaling import fit_temperature

__all__ = ['IsotonicCalibration', 'interpolate', 'isotonic_knots']

SLOPE = 1e-9  # keeps the order of equal results of one regression, as in the code of IWTS


def isotonic_knots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the ends of the steps of the isotonic regression of y on x, (2, K), as scikit-learn does.

    Args:
        x: (M,); equal values are averaged.
        y: (M,).
    """
    check_usable('scipy')
    from scipy.optimize import isotonic_regression

    # scikit-learn also averages values of x that differ by less than 1e-15
    x, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(inverse, y) / count, weights=count).x
    starts = np.diff(fitted, prepend=-1) > 0
    ends = np.append(starts[1:], True)
    return np.stack([x, fitted])[:, starts | ends]


def interpolate(p: Tensor, knots: Tensor) -> Tensor:
    """Interpolate linearly between knots, constant outside, (R, M).

    Args:
        p: (R, M).
        knots: x and y of each row, x ascending, (2, R, K) with K >= 2.
    """
    x, y = knots
    right = torch.searchsorted(x, p.contiguous()).clamp(1, x.size(1) - 1)  # (R, M)
    (x0, x1), (y0, y1) = ((z.gather(1, right - 1), z.gather(1, right)) for z in (x, y))
    share = torch.where(x1 > x0, (p - x0) / (x1 - x0), 1.0).clamp(0, 1)
    return y0 + share * (y1 - y0)


@MODELS.register_module()
class IsotonicCalibration(ScoreCalibration):
    """Maps probabilities to the frequencies of the validation split by an increasing function.

    One function for all classes (IRM) changes no prediction. One per class (IROvA) may, and knows little of a class
    with few validation images; the probability of a class without any becomes 0, which costs likelihood. The split
    should have the class mix of the test set. Needs scipy to be fitted.

    References:
        [0] Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD 2002.
        [1] Zhang et al., Mix-n-Match: Ensemble and Compositional Methods for Uncertainty Calibration in Deep Learning,
            ICML 2020, arXiv 2003.07329: IRM, IROvA, IROvATS.

    Args:
        per_class: One function per class, fitted to one class against the others (IROvA).
        after_temperature: Scale the logits first by the temperature with the least squared error (with ``per_class``:
            IROvATS).
    """

    def __init__(self, per_class: bool = False, after_temperature: bool = False) -> None:
        super().__init__()
        self.per_class, self.after_temperature = per_class, after_temperature
        self.register_buffer('temperature', torch.zeros(0, dtype=torch.float64))
        self.register_buffer('knots', torch.zeros(0, dtype=torch.float64))  # (2, 1 or C, K)

    def fit_scores(self, cls_score: Tensor, label: Tensor) -> None:
        temperature = fit_temperature(cls_score, label, loss='mse') if self.after_temperature else 1.0
        self.temperature = cls_score.new_tensor([temperature])
        p = self._rows((cls_score / self.temperature).softmax(1)).numpy()
        hit = self._rows(label[:, None] == torch.arange(cls_score.size(1))).numpy()
        knots = [isotonic_knots(*row) for row in zip(p, hit)]
        num = max(2, *(row.shape[1] for row in knots))
        padded = np.stack([np.pad(row, ((0, 0), (0, num - row.shape[1])), mode='edge') for row in knots])
        self.knots = torch.from_numpy(padded).transpose(0, 1).contiguous()

    def calibrate(self, cls_score: Tensor) -> Tensor:
        p = (cls_score / self.temperature).softmax(1)
        mapped = interpolate(self._rows(p), self.knots)
        if self.per_class:
            return mapped.T
        return mapped.view_as(p) + SLOPE * p

    def _rows(self, x: Tensor) -> Tensor:
        """Regressions to the front, (1, N C) or (C, N)."""
        return x.T.contiguous() if self.per_class else x.reshape(1, -1)

    def settings(self) -> Mapping[str, Any]:
        return dict(per_class=self.per_class, after_temperature=self.after_temperature)
