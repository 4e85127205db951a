"""Average precision per class of a multi-label test set."""

import numpy as np
import torch

from ltmm.utils.errors import InputError

__all__ = ['average_precision']

BLOCK = 1 << 18  # scores sorted at a time; sorting is fastest if they fit the CPU cache


def average_precision(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    r"""Compute :math:`\frac{1}{|P|} \sum_{i \in P} \mathrm{precision}(s \ge s_i)` per class, (C,).

    Equal to scikit-learn's ``average_precision_score``: tied scores share one threshold, whatever the order of the
    images. Unknown labels are ignored; a class without positives gets NaN.

    Args:
        scores: Finite scores, (N, C).
        target: 1 positive, 0 negative, -1 unknown, (N, C).
    """
    scores, target = np.asarray(scores), np.asarray(target)
    if scores.ndim != 2 or scores.shape != target.shape:
        raise InputError(f'Expected scores and targets of one shape (N, C), but got {scores.shape} and {target.shape}.')
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32)
    states = target.astype(np.int8)
    if states.size and (states.min() < -1 or states.max() > 1 or not np.array_equal(states, target)):
        raise InputError('Expected `target` to be 1 (positive), 0 (negative) or -1 (unknown).')
    if not np.isfinite(scores).all():
        raise InputError('Expected `scores` to be finite, but got NaN or infinite values.')
    scores, states = _transpose(scores), _transpose(states)  # (C, N), contiguous per class
    num_classes, num_images = scores.shape
    order = np.argsort((states == 1).sum(1))  # the classes of a block have similar numbers of positives
    result = np.zeros(num_classes)
    step = max(BLOCK // max(num_images, 1), 1)
    for start in range(0, num_classes, step):
        block = order[start : start + step]
        result[block] = _average_precision(scores[block], states[block])
    return result


def _transpose(array: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.ascontiguousarray(array)).t().contiguous().numpy()  # faster than NumPy


def _average_precision(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Average precision of a block of B classes, (B,), from (B, N); overwrites ``scores``.

    Sorting the scores without their indices suffices: the precision at a positive follows from the number of images and
    the number of positives that score at least as much.
    """
    is_positive = target == 1
    num_positives = is_positive.sum(1, keepdims=True)  # (B, 1)
    rank = np.arange(num_positives.max())  # (K,)
    is_filled = rank < num_positives  # (B, K)
    positives = np.full(is_filled.shape, np.inf, dtype=scores.dtype)
    positives[is_filled] = scores[is_positive]
    positives.sort(axis=1)
    scores[target == -1] = -np.inf  # below all positives
    scores.sort(axis=1)
    below = torch.searchsorted(torch.from_numpy(scores), torch.from_numpy(positives)).numpy()
    starts_tie = np.ones(is_filled.shape, dtype=bool)
    starts_tie[:, 1:] = positives[:, 1:] != positives[:, :-1]
    hits = num_positives - np.maximum.accumulate(np.where(starts_tie, rank, 0), axis=1)
    precision = np.divide(hits, scores.shape[1] - below, out=np.zeros(is_filled.shape), where=is_filled)
    with np.errstate(invalid='ignore'):  # 0 / 0 for a class without positives
        return precision.sum(1) / num_positives[:, 0]
