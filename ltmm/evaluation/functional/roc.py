"""How well a score tells positives from negatives."""

import numpy as np

__all__ = ['auroc']


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive has a higher score than a negative, ties counting half.

    NaN without positives or without negatives.

    Args:
        score: (N,).
        positive: Whether each is a positive, (N,).
    """
    positive = np.asarray(positive, dtype=bool)
    num_positives, num_negatives = int(positive.sum()), int((~positive).sum())
    if not num_positives or not num_negatives:
        return float('nan')
    _, value, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[value]  # from 1, of ties the mean
    wins = rank[positive].sum() - num_positives * (num_positives + 1) / 2
    return float(wins / (num_positives * num_negatives))
