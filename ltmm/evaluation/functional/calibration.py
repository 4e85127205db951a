"""Whether a classifier is as sure as it is right.

All bins are open on the left and closed on the right, (l, u].

[0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599: ECE and MCE.
[1] github.com/dvlab-research/MiSLAS @0fc381e, `calibration`: ECE and MCE.
[2] Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for NLP Models, EMNLP 2015: adaptive bins.
[3] Nixon et al., Measuring Calibration in Deep Learning, CVPR Workshops 2019, arXiv 1904.01685: SCE, ACE and TACE.
[4] Thulasidasan et al., On Mixup Training, NeurIPS 2019, arXiv 1905.11001: OE.
[5] github.com/JiahaoChen1/Calibration @4738754, `calibration_metric.py`, and github.com/emasa/BalPoE-CalibratedLT
    @ca607ae, `utils/calibration_metrics.py`: all but adaptive ECE. Equal to both on their own numbers
    (tests/conformance, `calibration_metrics` and `balpoe_calibration`); where [3] and [5] differ, as [5].
"""

from dataclasses import dataclass

import numpy as np

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

LOWEST_PROBABILITY = 1e-20  # below it a logarithm counts no further, as in [5]


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Samples in bins by confidence, as sums, so that the parts of a test set add up with ``+``.

    Bins are of the predictions, (B,), or of the probabilities of each class, (C, B); there a hit is a sample of the
    class. All figures of an empty bin are 0.

    Args:
        count: samples in each bin.
        hits: right predictions in each bin.
        confidence_sum: sum of the confidences in each bin.
        num_samples: N, including the samples that are in no bin.
    """

    count: np.ndarray
    hits: np.ndarray
    confidence_sum: np.ndarray
    num_samples: int

    def __add__(self, other: 'CalibrationBins') -> 'CalibrationBins':
        return CalibrationBins(
            self.count + other.count,
            self.hits + other.hits,
            self.confidence_sum + other.confidence_sum,
            self.num_samples + other.num_samples,
        )

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right predictions in each bin."""
        return self.hits / np.maximum(self.count, 1)

    @property
    def confidence(self) -> np.ndarray:
        """Mean confidence in each bin."""
        return self.confidence_sum / np.maximum(self.count, 1)

    @property
    def gap(self) -> np.ndarray:
        """How far confidence is from accuracy in each bin."""
        return np.abs(self.accuracy - self.confidence)


# ---------------------------------------------------------------------- bins


def calibration_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> CalibrationBins:
    """Sort predictions into bins of equal width, (0, 1/B], (1/B, 2/B], ...; a confidence of 0 is in none.

    Args:
        confidence: probability of the predicted class, in [0, 1], (N,).
        correct: whether the prediction is right, (N,).
        num_bins: B, 15 in [1] and [5].

    Raises:
        ValueError: a confidence outside [0, 1], or NaN.
    """
    confidence, correct = _checked(confidence), np.asarray(correct, dtype=np.float64)
    bins = np.digitize(confidence, np.linspace(0, 1, num_bins + 1), right=True)  # (N,), 0 for confidence 0, else 1..B
    return _count(bins, confidence, correct, num_bins + 1, drop_first=True)


def adaptive_calibration_bins(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> CalibrationBins:
    """Sort predictions into bins of equally many, as [2] does; equal confidences stay together.

    Args:
        confidence: probability of the predicted class, in [0, 1], (N,).
        correct: whether the prediction is right, (N,).
        num_bins: B.

    Raises:
        ValueError: a confidence outside [0, 1], or NaN.
    """
    confidence, correct = _checked(confidence), np.asarray(correct, dtype=np.float64)
    last = -(-np.arange(1, num_bins) * len(confidence) // num_bins) - 1  # rank of the last sample of each bin, (B - 1,)
    bins = np.searchsorted(np.sort(confidence)[last], confidence)  # (N,), 0..B-1
    return _count(bins, confidence, correct, num_bins)


def class_wise_calibration_bins(
    probability: np.ndarray, label: np.ndarray, num_bins: int, pred: np.ndarray | None = None
) -> CalibrationBins:
    """Sort the probabilities of each class into bins of equal width, (C, B); a probability of 0 is in none.

    Args:
        probability: in [0, 1], (N, C).
        label: class indices, (N,).
        num_bins: B.
        pred: predicted classes, (N,). With them a hit is a sample on whose membership of the class prediction and label
            agree, true negatives included, as in BalPoE's code: near 1 - 1/C whatever the probabilities are.

    Raises:
        ValueError: a probability outside [0, 1], or NaN.
    """
    probability = _checked(probability)
    num_samples, num_classes = probability.shape
    edges = np.linspace(0, 1, num_bins + 1)

    def tally(values: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        bins = classes * num_bins + np.digitize(values, edges, right=True) - 1
        sums = np.bincount(bins, weights, num_classes * num_bins).reshape(num_classes, num_bins)
        return sums if weights is None else sums.astype(np.float64)  # of no values, NumPy gives whole numbers

    high = np.flatnonzero(probability > edges[1])  # few of many classes: the others are in the first bin
    values, classes = probability.ravel()[high], high % num_classes
    count, confidence_sum = tally(values, classes), tally(values, classes, values)
    low = probability.copy()  # (N, C)
    np.put(low, high, 0)
    count[:, 0], confidence_sum[:, 0] = np.count_nonzero(low, axis=0), low.sum(0, dtype=np.float64)
    samples, classes = _told(label, pred)
    values = probability[samples, classes]
    told = tally(values[values > 0], classes[values > 0])
    return CalibrationBins(count, told if pred is None else count - told, confidence_sum, num_samples)


def class_wise_adaptive_calibration_bins(
    probability: np.ndarray, label: np.ndarray, num_bins: int, pred: np.ndarray | None = None
) -> CalibrationBins:
    """Sort the probabilities of each class into bins of equally many, (C, B), as [5] does.

    The lower borders of the bins of a class are its smallest probability and each floor(N/B)-th one after it; equal
    probabilities stay together, the smallest are in no bin, and the last bin takes the remainder.

    Args:
        probability: in [0, 1], (N, C).
        label: class indices, (N,).
        num_bins: B.
        pred: as in :func:`class_wise_calibration_bins`.

    Raises:
        ValueError: a probability outside [0, 1], or NaN.
    """
    probability = _checked(probability)
    num_samples, num_classes = probability.shape
    told = _told(label, pred)
    of_told, classes = probability[told], told[1]  # (T,) each
    borders = np.sort(probability, axis=0)[np.arange(num_bins) * (num_samples // num_bins)]  # (B, C)
    cumulated = []  # B + 1 times (3, C): what is below each border
    for border in (*borders, np.ones(num_classes)):
        below = probability <= border  # (N, C)
        told_below = np.bincount(classes[of_told <= border[classes]], minlength=num_classes)
        cumulated.append((below.sum(0), told_below, probability.sum(0, where=below, dtype=np.float64)))
    count, told, confidence_sum = np.diff(cumulated, axis=0).transpose(1, 2, 0)  # (C, B) each
    return CalibrationBins(count, told if pred is None else count - told, confidence_sum, num_samples)


def _told(label: np.ndarray, pred: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Samples and classes, (T,) each: samples of the class or, with ``pred``, those on which it is wrong about it."""
    label = np.asarray(label)
    if pred is None:
        return np.arange(len(label)), label
    wrong = np.flatnonzero(np.asarray(pred) != label)
    return np.tile(wrong, 2), np.concatenate([label[wrong], np.asarray(pred)[wrong]])


def _count(
    bins: np.ndarray, confidence: np.ndarray, correct: np.ndarray, num_bins: int, drop_first: bool = False
) -> CalibrationBins:
    sums = (np.bincount(bins, weights, num_bins)[int(drop_first) :] for weights in (None, correct, confidence))
    return CalibrationBins(*sums, len(confidence))


def _checked(probability: np.ndarray) -> np.ndarray:
    """As an array of floating-point numbers in [0, 1]."""
    probability = np.asarray(probability)
    if probability.dtype.kind != 'f':
        probability = probability.astype(np.float64)
    low, high = probability.min(initial=0), probability.max(initial=0)
    if not (low >= 0 and high <= 1):
        raise ValueError(f'Expected `confidence` to be in [0, 1], but got values from {low} to {high}.')
    return probability


# ---------------------------------------------------------------------- figures


def expected_calibration_error(bins: CalibrationBins) -> float:
    """Gap, averaged over the samples, and over the classes where the bins are class-wise.

    This is ECE of :func:`calibration_bins`, adaptive ECE of :func:`adaptive_calibration_bins`, SCE of
    :func:`class_wise_calibration_bins`, ACE of :func:`class_wise_adaptive_calibration_bins`, and TACE of the last where
    small probabilities were set to 0 before.
    """
    return float(((bins.gap * bins.count).sum(-1) / bins.num_samples).mean())


def maximum_calibration_error(bins: CalibrationBins) -> float:
    """Largest gap of a bin (MCE)."""
    return float(bins.gap.max())


def overconfidence_error(bins: CalibrationBins) -> float:
    """Gap of the bins that are surer than right, times their confidence, averaged over the samples (OE)."""
    excess = np.maximum(bins.confidence - bins.accuracy, 0)
    return float((bins.count * bins.confidence * excess).sum() / bins.num_samples)


def negative_log_likelihood(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative logarithm of the probability of the true class, (N,); at the most 46.05.

    Args:
        probability: (N, C).
        label: class indices, (N,).
    """
    own = np.take_along_axis(np.asarray(probability, dtype=np.float64), np.asarray(label)[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own, LOWEST_PROBABILITY))


def brier_score(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Squared distance of the probabilities from the truth, summed over the classes, in [0, 2], (N,).

    Args:
        probability: (N, C).
        label: class indices, (N,).
    """
    error = np.array(probability, dtype=np.float64)  # (N, C)
    error[np.arange(len(error)), label] -= 1
    return np.einsum('nc,nc->n', error, error)
