"""Open-set recognition: samples of unknown classes carry the label -1 and ought to be rejected.

[0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
[1] github.com/zhmiao/OpenLongTailRecognition-OLTR @f50e375.
[2] github.com/facebookresearch/classifier-balancing @f162ade.
"""

import numpy as np

__all__ = ['open_set_accuracy', 'open_set_f_measure', 'reject_uncertain']

UNKNOWN = -1


def reject_uncertain(pred: np.ndarray, confidence: np.ndarray, threshold: float) -> np.ndarray:
    """Predictions whose confidence is below the threshold become -1, (N,).

    Args:
        pred: predicted classes, (N,).
        confidence: their probability, (N,).
        threshold: 0.1 in [1].
    """
    return np.where(np.asarray(confidence) < threshold, UNKNOWN, pred)


def open_set_f_measure(pred: np.ndarray, label: np.ndarray, count_rejects: bool) -> float:
    """F-measure over all samples at once, known and unknown.

    A known sample of the right class is a true positive, an unknown sample that is not rejected a false negative, and
    a known sample of the wrong class a false positive.

    Args:
        pred: predicted classes, -1 where rejected, (N,).
        label: true classes, -1 where unknown, (N,).
        count_rejects: a known sample that is rejected is a false positive too, as in [1]; it counts as nothing in [2].
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
    """Share of the unknown samples that are rejected; NaN where there is none.

    Args:
        pred: predicted classes, -1 where rejected, (N,).
        label: true classes, -1 where unknown, (N,).
    """
    unknown = np.asarray(label) == UNKNOWN
    return float((np.asarray(pred)[unknown] == UNKNOWN).mean()) if unknown.any() else float('nan')
