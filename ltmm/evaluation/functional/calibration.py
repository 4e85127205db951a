"""Calibration errors: the gap between the confidence of a classifier and its accuracy.

All bins are half-open, (l, u].

[0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599: ECE and MCE.
[1] github.com/dvlab-research/MiSLAS @0fc381e, `calibration`: ECE and MCE.
[2] Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for NLP Models, EMNLP 2015: adaptive bins.
[3] Nixon et al., Measuring Calibration in Deep Learning, CVPR Workshops 2019, arXiv 1904.01685: SCE, ACE and TACE.
[4] Thulasidasan et al., On Mixup Training, NeurIPS 2019, arXiv 1905.11001: OE.
[5] github.com/JiahaoChen1/Calibration @4738754, `calibration_metric.py`, and github.com/emasa/BalPoE-CalibratedLT
    @ca607ae, `utils/calibration_metrics.py`: all but adaptive ECE. This implementation reproduces both
    (tests/conformance, `calibration_metrics` and `balpoe_calibration`); where [3] and [5] differ, it follows [5].
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltmm.utils.checks import check
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

__all__ = [
    'CalibrationBins',
    'adaptive_calibration_bins',
    'brier_score',
    'calibration_bins',
    'class_wise_adaptive_calibration_bins',
    'class_wise_calibration_bins',
    'expected_calibration_error',
    'maximum_calibration_error',
    'negative_log_likelihood',
    'overconfidence_error',
]

CSV_HEADER = 'low,high,images,correct,confidence_sum'
LOWEST_PROBABILITY = 1e-20  # lower bound in logarithms, as in [5]


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Sums over the samples per confidence bin; the bins of parts of a test set add up with ``+``.

    The shape is (B,) for the predicted classes, or (C, B) for the probabilities of each class. The accuracy and the
    confidence of an empty bin are 0.

    Args:
        count: Samples per bin.
        hits: Correct predictions per bin; for class-wise bins, samples of the class.
        confidence_sum: Sum of the confidences per bin.
        num_samples: N, including samples outside all bins.
    """

    count: np.ndarray
    hits: np.ndarray
    confidence_sum: np.ndarray
    num_samples: int

    def __add__(self, other: 'CalibrationBins') -> 'CalibrationBins':
        return CalibrationBins(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    @property
    def accuracy(self) -> np.ndarray:
        """Share of correct predictions per bin."""
        return self.hits / np.maximum(self.count, 1)

    @property
    def confidence(self) -> np.ndarray:
        """Mean confidence per bin."""
        return self.confidence_sum / np.maximum(self.count, 1)

    @property
    def gap(self) -> np.ndarray:
        """Absolute difference of accuracy and mean confidence per bin."""
        return np.abs(self.accuracy - self.confidence)

    def to_csv(self) -> str:
        """Return the text of a CSV file with one row per bin of equal width, (B,)."""
        edges = np.linspace(0, 1, len(self.count) + 1)
        rows = zip(edges[:-1], edges[1:], self.count, self.hits, self.confidence_sum)
        lines = [f'{low:.6g},{high:.6g},{n},{hits:g},{total:.17g}' for low, high, n, hits, total in rows]
        return '\n'.join([CSV_HEADER, *lines, ''])

    @classmethod
    def read(cls, path: str | Path) -> 'CalibrationBins':
        """Read the file that :meth:`to_csv` describes."""
        header, *rows = read_text(path).splitlines() or ['']
        if header != CSV_HEADER:
            raise InputError(f'Expected {path} to be a CSV of CalibrationMetric, with the columns {CSV_HEADER}.')
        try:
            count, hits, confidence_sum = np.loadtxt(rows, delimiter=',', ndmin=2).reshape(-1, 5).T[2:]
            check(images=(count, '>= 0'), correct=(hits, '>= 0'), confidence_sum=(confidence_sum, '>= 0'))
        except ValueError as e:
            raise InputError(f'{path} is damaged: {e}') from None
        return cls(count.astype(int), hits, confidence_sum, int(count.sum()))


# ---------------------------------------------------------------------- bins


def calibration_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> CalibrationBins:
    """Sort predictions into bins of equal width, (0, 1/B], (1/B, 2/B], ...; a confidence of 0 is in none.

    Args:
        confidence: Probability of the predicted class, (N,).
        correct: Whether the prediction is correct, (N,).
        num_bins: B, 15 in [1] and [5].
    """
    confidence, correct = _as_probability(confidence), np.asarray(correct, dtype=np.float64)
    bins = np.digitize(confidence, np.linspace(0, 1, num_bins + 1), right=True)  # (N,), 0 for confidence 0, else 1..B
    sums = (np.bincount(bins, weights, num_bins + 1)[1:] for weights in (None, correct, confidence))
    return CalibrationBins(*sums, len(confidence))


def adaptive_calibration_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> CalibrationBins:
    """Sort predictions into bins of equal size, as in [2]; equal confidences share a bin.

    Args:
        confidence: Probability of the predicted class, (N,).
        correct: Whether the prediction is correct, (N,).
        num_bins: B.
    """
    confidence, correct = _as_probability(confidence), np.asarray(correct, dtype=np.float64)
    last = -(-np.arange(1, num_bins) * len(confidence) // num_bins) - 1  # rank of the last sample per bin, (B - 1,)
    bins = np.searchsorted(np.sort(confidence)[last], confidence)  # (N,), 0..B-1
    sums = (np.bincount(bins, weights, num_bins) for weights in (None, correct, confidence))
    return CalibrationBins(*sums, len(confidence))


def class_wise_calibration_bins(
    probability: np.ndarray, label: np.ndarray, num_bins: int, pred: np.ndarray | None = None
) -> CalibrationBins:
    """Sort the probabilities of each class into bins of equal width, (C, B); a probability of 0 is in none.

    Args:
        probability: Probabilities, (N, C).
        label: Class indices, (N,).
        num_bins: B.
        pred: Predicted classes, (N,). If given, a hit is a sample on which prediction and label agree about the class,
            including true negatives, as in BalPoE's code: close to 1 - 1/C for any classifier.
    """
    probability = _as_probability(probability)
    num_samples, num_classes = probability.shape
    edges = np.linspace(0, 1, num_bins + 1)

    def tally(values: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        bins = classes * num_bins + np.digitize(values, edges, right=True) - 1
        sums = np.bincount(bins, weights, num_classes * num_bins).reshape(num_classes, num_bins)
        return sums if weights is None else sums.astype(np.float64)  # bincount of an empty array gives integers

    above = np.flatnonzero(probability > edges[1])  # few if there are many classes; all others are in the first bin
    values, classes = probability.ravel()[above], above % num_classes
    count, confidence_sum = tally(values, classes), tally(values, classes, values)
    below = probability.copy()  # (N, C)
    np.put(below, above, 0)
    count[:, 0], confidence_sum[:, 0] = np.count_nonzero(below, axis=0), below.sum(0, dtype=np.float64)
    samples, classes = _hits_or_errors(label, pred)
    values = probability[samples, classes]
    selected = tally(values[values > 0], classes[values > 0])
    return CalibrationBins(count, selected if pred is None else count - selected, confidence_sum, num_samples)


def class_wise_adaptive_calibration_bins(
    probability: np.ndarray, label: np.ndarray, num_bins: int, pred: np.ndarray | None = None
) -> CalibrationBins:
    """Sort the probabilities of each class into bins of equal size, (C, B), as in [5].

    The lower edges of the bins of a class are its smallest probability and each floor(N/B)-th one after it. Equal
    probabilities share a bin, the smallest are in none, and the last bin takes the remainder.

    Args:
        probability: Probabilities, (N, C).
        label: Class indices, (N,).
        num_bins: B.
        pred: See :func:`class_wise_calibration_bins`.
    """
    probability = _as_probability(probability)
    num_samples, num_classes = probability.shape
    samples, classes = _hits_or_errors(label, pred)  # (T,) each
    values = probability[samples, classes]  # (T,)
    edges = np.sort(probability, axis=0)[np.arange(num_bins) * (num_samples // num_bins)]  # (B, C)
    cumulative = []  # B + 1 times (3, C): sums up to each edge
    for edge in (*edges, np.ones(num_classes)):
        below = probability <= edge  # (N, C)
        selected = np.bincount(classes[values <= edge[classes]], minlength=num_classes)
        cumulative.append((below.sum(0), selected, probability.sum(0, where=below, dtype=np.float64)))
    count, selected, confidence_sum = np.diff(cumulative, axis=0).transpose(1, 2, 0)  # (C, B) each
    return CalibrationBins(count, selected if pred is None else count - selected, confidence_sum, num_samples)


def _hits_or_errors(label: np.ndarray, pred: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (sample, class), (T,) each: the labels, or, with ``pred``, where prediction and label disagree."""
    label = np.asarray(label)
    if pred is None:
        return np.arange(len(label)), label
    wrong = np.flatnonzero(np.asarray(pred) != label)
    return np.tile(wrong, 2), np.concatenate([label[wrong], np.asarray(pred)[wrong]])


def _as_probability(probability: np.ndarray) -> np.ndarray:
    """Return a floating-point array after a check of its range."""
    probability = np.asarray(probability)
    if probability.dtype.kind != 'f':
        probability = probability.astype(np.float64)
    low, high = probability.min(initial=0), probability.max(initial=0)
    if not (low >= 0 and high <= 1):
        raise InputError(f'Expected `confidence` to be in [0, 1], but got values from {low} to {high}.')
    return probability


# ---------------------------------------------------------------------- errors


def expected_calibration_error(bins: CalibrationBins) -> float:
    """Average the gap over the samples and, for class-wise bins, over the classes.

    This is the ECE for :func:`calibration_bins`, the adaptive ECE for :func:`adaptive_calibration_bins`, the SCE for
    :func:`class_wise_calibration_bins`, and the ACE for :func:`class_wise_adaptive_calibration_bins`, or the TACE if
    small probabilities were set to 0 before.
    """
    return float(((bins.gap * bins.count).sum(-1) / bins.num_samples).mean())


def maximum_calibration_error(bins: CalibrationBins) -> float:
    """Largest gap of a bin (MCE)."""
    return float(bins.gap.max())


def overconfidence_error(bins: CalibrationBins) -> float:
    """Average confidence times overconfidence over the samples (OE)."""
    excess = np.maximum(bins.confidence - bins.accuracy, 0)
    return float((bins.count * bins.confidence * excess).sum() / bins.num_samples)


def negative_log_likelihood(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative log probability of the true class, at most 46.05, (N,).

    Args:
        probability: Probabilities, (N, C).
        label: Class indices, (N,).
    """
    own = np.take_along_axis(np.asarray(probability, dtype=np.float64), np.asarray(label)[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own, LOWEST_PROBABILITY))


def brier_score(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Squared distance of the probabilities from the one-hot label, in [0, 2], (N,).

    Args:
        probability: Probabilities, (N, C).
        label: Class indices, (N,).
    """
    error = np.array(probability, dtype=np.float64)  # (N, C)
    error[np.arange(len(error)), label] -= 1
    return np.einsum('nc,nc->n', error, error)
