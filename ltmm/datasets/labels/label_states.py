"""States of multi-label annotations: positive, negative or unknown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['NEGATIVE', 'POSITIVE', 'STATES', 'UNKNOWN', 'ImageLabels', 'checked_states', 'states_of']

POSITIVE, NEGATIVE, UNKNOWN = 1, 0, -1
STATES = {'positive': POSITIVE, 'negative': NEGATIVE, 'unknown': UNKNOWN}


class ImageLabels(NamedTuple):
    """Multi-label annotations of all images of a file.

    Args:
        names: Path of each image relative to the image folder, N.
        classes: Class names, C.
        states: 1 positive, 0 negative, -1 unknown, int8, (N, C).
    """

    names: list[str]
    classes: tuple[str, ...]
    states: np.ndarray

    def take(self, rows: Sequence[int]) -> 'ImageLabels':
        """Select images by index."""
        return ImageLabels([self.names[row] for row in rows], self.classes, self.states[rows])


def checked_states(gt_score: Any) -> np.ndarray:
    """Convert the label states of a sample to int8, (C,), and check that they are 1, 0 or -1."""
    score = np.asarray(gt_score)
    bad = np.flatnonzero((score != POSITIVE) & (score != NEGATIVE) & (score != UNKNOWN))
    if score.ndim != 1 or len(bad):
        got = f'shape {score.shape}' if score.ndim != 1 else f'{score[bad[0]]} for class {bad[0]}'
        raise InputError(f'Expected `gt_score` (C,) to be 1 (positive), 0 (negative) or -1 (unknown), but got {got}.')
    return score.astype(np.int8)


def states_of(record: Mapping, num_classes: int) -> np.ndarray:
    """Return the label states of a multi-label annotation record, int8, (C,).

    Without ``gt_score``, the classes of ``gt_label`` are positive and all others negative.
    """
    if 'gt_score' in record:
        states = checked_states(record['gt_score'])
        if len(states) != num_classes:
            raise InputError(f'Expected `gt_score` of {num_classes} classes, but got {len(states)}.')
        return states
    label = np.asarray(record.get('gt_label', 0), dtype=np.int64)
    if label.ndim == 0:
        got = f'gt_label={label}' if 'gt_label' in record else f'the keys {sorted(record)}'
        raise InputTypeError(
            f'Expected multi-label data with `gt_score`, or a list of classes as `gt_label`, but got {got}.'
        )
    states = np.zeros(num_classes, dtype=np.int8)
    states[label] = POSITIVE
    return states
