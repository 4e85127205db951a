"""Images that look the same."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

__all__ = ['equal_groups', 'similar_pairs']

MAX_BITS = 4  # of 64 that differ in pictures that look the same
BANDS = MAX_BITS + 1  # of which two such hashes have one in common


def equal_groups(items: Iterable[tuple[str, bytes]]) -> list[list[str]]:
    """Return the groups of two and more paths with the same hash."""
    groups = defaultdict(list)
    for path, value in items:
        groups[value].append(path)
    return [paths for paths in groups.values() if len(paths) > 1]


def similar_pairs(first: Mapping[str, int], second: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Return the pairs of images of two sets whose perceptual hashes differ by few bits, closest first.

    Hashes of 64 bits that differ in :data:`MAX_BITS` have at least one of :data:`BANDS` parts in common: only pairs
    with a common part are compared.

    Args:
        first: Hash of each path.
        second: Hash of each path of the other set.

    Returns:
        (path of the first set, path of the second, bits that differ); of each path of the second set the closest.
    """
    names, others = list(first), list(second)
    one, two = (np.array(list(part.values()), dtype=np.uint64) for part in (first, second))
    best: dict[int, tuple[int, int]] = {}  # index in the second set -> (bits, index in the first)
    for shift, width in _bands():
        mask = np.uint64((1 << width) - 1)
        keys, wanted = ((hashes >> np.uint64(shift)) & mask for hashes in (one, two))
        order = np.argsort(keys, kind='stable')
        start, end = (np.searchsorted(keys[order], wanted, side) for side in ('left', 'right'))
        for j in np.flatnonzero(end > start):
            rows = order[start[j] : end[j]]
            bits = _count_bits(one[rows] ^ two[j])
            i = int(bits.argmin())
            if bits[i] <= MAX_BITS:
                best[j] = min(best.get(j, (65, 0)), (int(bits[i]), int(rows[i])))
    return [
        (names[i], others[j], bits) for j, (bits, i) in sorted(best.items(), key=lambda item: (item[1][0], item[0]))
    ]


def _bands() -> Sequence[tuple[int, int]]:
    """Return shift and width of each part of 64 bits."""
    edges = np.linspace(0, 64, BANDS + 1).astype(int).tolist()
    return [(low, high - low) for low, high in pairwise(edges)]


def _count_bits(values: np.ndarray) -> np.ndarray:
    return np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
