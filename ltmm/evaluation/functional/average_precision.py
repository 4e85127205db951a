"""Average precision of each class of a multi-label test set."""

import numpy as np
import torch

__all__ = ['average_precision']

BLOCK = 1 << 18  # scores that are sorted at a time: what fits a processor's cache is fastest


def average_precision(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    r"""Area under the precision-recall steps, :math:`\frac{1}{|P|} \sum_{i \in P} \mathrm{precision}(s \ge s_i)`, (C,).

    Equal scores are one step: a class whose images all score the same has its share of positives, whatever their order.
    That is scikit-learn's ``average_precision_score``. Images whose label is unknown are left out of the class; a class
    without a positive has NaN.

    Only the scores are sorted, not their indices: what counts is how many images, and how many positives among them,
    score at least as much as each positive.

    Args:
        scores: (N, C), finite, of any floating-point type.
        target: 1 positive, 0 negative, -1 unknown, (N, C).

    Raises:
        ValueError: arrays of different or other shapes, targets of another value, scores that are NaN or infinite.
    """
    scores, target = np.asarray(scores), np.asarray(target)
    if scores.ndim != 2 or scores.shape != target.shape:
        raise ValueError(f'Expected scores and targets of one shape (N, C), but got {scores.shape} and {target.shape}.')
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32)
    states = target.astype(np.int8)
    if states.size and (states.min() < -1 or states.max() > 1 or not np.array_equal(states, target)):
        raise ValueError('Expected targets 1 (positive), 0 (negative) or -1 (unknown), but some are neither.')
    if not np.isfinite(scores).all():
        raise ValueError('Expected scores that are finite numbers, but some are NaN or infinite.')
    scores, states = _transposed(scores), _transposed(states)  # (C, N): a class lies in one piece
    num_classes, num_images = scores.shape
    order = np.argsort((states == 1).sum(1))  # classes of a block have about as many positives
    result = np.zeros(num_classes)
    step = max(BLOCK // max(num_images, 1), 1)
    for start in range(0, num_classes, step):
        block = order[start : start + step]
        result[block] = _of_block(scores[block], states[block])
    return result


def _transposed(array: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.ascontiguousarray(array)).t().contiguous().numpy()  # NumPy's own takes far longer


def _of_block(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The same of some classes, (B,), from (B, N); ``scores`` are overwritten."""
    is_positive = target == 1
    num_positives = is_positive.sum(1, keepdims=True)  # (B, 1)
    rank = np.arange(num_positives.max())  # (K,)
    is_filled = rank < num_positives  # (B, K)
    positives = np.full(is_filled.shape, np.inf, dtype=scores.dtype)
    positives[is_filled] = scores[is_positive]  # those of a class beside each other
    positives.sort(axis=1)
    scores[target == -1] = -np.inf  # below all positives
    scores.sort(axis=1)
    below = torch.searchsorted(torch.from_numpy(scores), torch.from_numpy(positives)).numpy()
    starts = np.ones(is_filled.shape, dtype=bool)  # of a run of equal scores
    starts[:, 1:] = positives[:, 1:] != positives[:, :-1]
    hits = num_positives - np.maximum.accumulate(np.where(starts, rank, 0), axis=1)
    precision = np.divide(hits, scores.shape[1] - below, out=np.zeros(is_filled.shape), where=is_filled)
    with np.errstate(invalid='ignore'):  # 0 / 0 for a class without positives
        return precision.sum(1) / num_positives[:, 0]
