"""Open-set recognition: samples of unknown classes have the label -1 and should be rejected.

[0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
[1] github.com/zhmiao/OpenLongTailRecognition-OLTR @f50e375.
[2] github.com/facebookresearch/classifier-balancing @f162ade.
"""

import numpy as np

__all__ = ['open_set_accuracy', 'open_set_f_measure', 'reject_uncertain']

UNKNOWN = -1


def reject_uncertain(pred: np.ndarray, confidence: np.ndarray, threshold: float) -> np.ndarray:
    """Replace predictions with a confidence below the threshold by -1, (N,).

    Args:
        pred: Predicted classes, (N,).
        confidence: Probability of the predicted class, (N,).
        threshold: 0.1 in [1].
    """
    return np.where(np.asarray(confidence) < threshold, UNKNOWN, pred)


def open_set_f_measure(pred: np.ndarray, label: np.ndarray, count_rejects: bool) -> float:
    """F-measure over known and unknown samples.

    True positives are known samples with the correct class, false positives known samples with a wrong class, false
    negatives unknown samples that are not rejected.

    Args:
        pred: Predicted classes, -1 if rejected, (N,).
        label: True classes, -1 if unknown, (N,).
        count_rejects: Count a rejected known sample as a false positive, as in [1]; [2] ignores it.
    """
    pred, label = np.asarray(pred), np.asarray(label)
    right, known = pred == label, label != UNKNOWN
    wrong = ~right & known & (count_rejects | (pred != UNKNOWN))
    true_positives, false_positives = (right & known).sum(), wrong.sum()
    false_negatives = (~right & ~known).sum()
    precision = true_positives / max(true_positives + false_positives, 1)
    recall = true_positives / max(true_positives + false_negatives, 1)
    return float(2 * precision * recall / (precision + recall + 1e-12))


def open_set_accuracy(pred: np.ndarray, label: np.ndarray) -> float:
    """Share of the unknown samples that are rejected; NaN without unknown samples.

    Args:
        pred: Predicted classes, -1 if rejected, (N,).
        label: True classes, -1 if unknown, (N,).
    """
    unknown = np.asarray(label) == UNKNOWN
    return float((np.asarray(pred)[unknown] == UNKNOWN).mean()) if unknown.any() else float('nan')
