"""The three states of a label in multi-label data, and how an annotation record says them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ['NEGATIVE', 'POSITIVE', 'STATES', 'UNKNOWN', 'checked_states', 'states_of']

POSITIVE, NEGATIVE, UNKNOWN = 1, 0, -1
STATES = {'positive': POSITIVE, 'negative': NEGATIVE, 'unknown': UNKNOWN}


def checked_states(gt_score: Any) -> np.ndarray:
    """States of the labels of a sample as int8, (C,).

    Args:
        gt_score: 1 positive, 0 negative, -1 unknown, (C,).

    Raises:
        ValueError: anything else; names the class and its value.
    """
    score = np.asarray(gt_score)
    bad = np.flatnonzero((score != POSITIVE) & (score != NEGATIVE) & (score != UNKNOWN))
    if score.ndim != 1 or len(bad):
        got = f'shape {score.shape}' if score.ndim != 1 else f'{score[bad[0]]} for class {bad[0]}'
        raise ValueError(f'Expected `gt_score` (C,) to be 1 (positive), 0 (negative) or -1 (unknown), but got {got}.')
    return score.astype(np.int8)


def states_of(record: Mapping, num_classes: int) -> np.ndarray:
    """States of the labels in an annotation record as int8, (C,).

    ``gt_score`` says them all. Without it, the classes in ``gt_label`` are positive and all others negative.

    Args:
        record: of a multi-label dataset.
        num_classes: C.

    Raises:
        TypeError: neither ``gt_score`` nor ``gt_label``, or one class in place of a list, as in single-label data.
        ValueError: another value than 1, 0 and -1, or another number of classes.
    """
    if 'gt_score' in record:
        states = checked_states(record['gt_score'])
        if len(states) != num_classes:
            raise ValueError(f'Expected `gt_score` to have {num_classes} entries, one a class, but got {len(states)}.')
        return states
    if 'gt_label' not in record:
        raise TypeError(
            f"Expected multi-label annotations with 'gt_score' or 'gt_label', but got the keys {sorted(record)}."
        )
    label = np.asarray(record['gt_label'], dtype=np.int64)
    if label.ndim == 0:
        raise TypeError(
            "Expected multi-label annotations, with 'gt_score' or a list of classes as 'gt_label', but got the one "
            f'class gt_label={label}. Give [{label}] where this is multi-label data.'
        )
    states = np.zeros(num_classes, dtype=np.int8)
    states[label] = POSITIVE
    return states
