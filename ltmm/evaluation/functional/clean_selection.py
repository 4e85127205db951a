"""How well clean samples are selected from noisy ones."""

import numpy as np

from ltmm.utils.shots import Shots

__all__ = ['selection_quality']


def selection_quality(
    selected: np.ndarray, label: np.ndarray, true_label: np.ndarray, shots: Shots
) -> dict[str, float]:
    """Compute precision and recall of selected samples, over all and for many-, medium- and few-shot classes.

    The precision is the share of clean samples among the selected ones, the recall the share of selected samples among
    the clean ones; samples belong to the class of their observed label. NaN for a group that has none.

    Args:
        selected: Boolean, (N,).
        label: Observed labels, (N,).
        true_label: True labels, (N,).
        shots: Groups of the classes.

    Returns:
        ``precision``, ``recall``, and both with the name of each group, such as ``precision_few``.
    """
    clean, figures = label == true_label, {}
    for name, mask in [('', np.ones(len(label), dtype=bool)), *((f'_{g}', mask[label]) for g, mask in shots.items())]:
        right = int((selected & clean & mask).sum())
        for figure, among in (('precision', selected & mask), ('recall', clean & mask)):
            num = int(among.sum())
            figures[f'{figure}{name}'] = right / num if num else float('nan')
    return figures
