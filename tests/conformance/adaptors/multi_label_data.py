"""Sampling of multi-label data."""

from typing import Any

import numpy as np

from ltmm.registry import DATA_SAMPLERS

from ..frame import Case, adaptor
from .data import InMemory


@adaptor('db_class_aware_sampler', ignores=dict(seed="of Python's generator, which ours does not use"))
def db_class_aware_sampler(case: Case) -> dict[str, Any]:
    targets, theirs = case.arrays['targets'], case.arrays['indices']
    in_a_row, num_classes = case.params['num_samples_cls'], targets.shape[1]
    sampler = DATA_SAMPLERS.build(
        dict(
            type='ltmm.ClassAwareSampler',
            dataset=InMemory([np.flatnonzero(row).tolist() for row in targets], num_classes),
            num_samples_per_class=in_a_row,
            length='max',
            reduce=case.params['reduce'],
            seed=0,
        )
    )
    ours = np.array(list(sampler))
    case.check('every class once a cycle', *(cycles_with_all_classes(x, targets, in_a_row) for x in (ours, theirs)))
    case.check('draws of the samples of a class', *(draws_are_even(x, targets) for x in (ours, theirs)))
    return dict(length=len(sampler))


def cycles_with_all_classes(stream: np.ndarray, targets: np.ndarray, in_a_row: int) -> np.ndarray:
    """Whether the visits of each whole cycle can be those of different classes, one each."""
    num_classes = targets.shape[1]
    visits = stream[: len(stream) // (num_classes * in_a_row) * num_classes * in_a_row]
    shared = targets[visits].reshape(-1, num_classes, in_a_row, num_classes).all(axis=2)  # (cycles, visits, C)
    return np.array([has_perfect_matching(cycle) for cycle in shared])


def has_perfect_matching(allowed: np.ndarray) -> bool:
    """Whether rows and columns of a square boolean matrix can be paired (augmenting paths)."""
    row_of = np.full(len(allowed), -1)

    def augment(row: int, seen: set) -> bool:
        for column in np.flatnonzero(allowed[row]):
            if column not in seen:
                seen.add(column)
                if row_of[column] < 0 or augment(row_of[column], seen):
                    row_of[column] = row
                    return True
        return False

    return all(augment(row, set()) for row in range(len(allowed)))


def draws_are_even(stream: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether the samples of one class alone come equally often, but for one draw, for each class that has such."""
    draws = np.bincount(stream, minlength=len(targets))
    alone = targets.sum(axis=1) == 1
    members = [draws[alone & (column == 1)] for column in targets.T]
    return np.array([np.ptp(times) <= 1 for times in members if len(times)])
