"""Generation of CIFAR-100 mosaics: which classes occur together, and on which images."""

from collections.abc import Sequence

import numpy as np

__all__ = ['draw_label_sets', 'draw_tiles', 'place_labels']


def draw_label_sets(
    counts: np.ndarray, size_probability: Sequence[float], scenes: np.ndarray, affinity: float, rng: np.random.Generator
) -> list[list[int]]:
    """Draw sets of classes until every class was drawn ``counts`` times.

    The classes of a set are drawn one by one, in proportion to their remaining counts; classes of the scene of the
    first one are ``affinity`` times as likely. So rare classes occur with frequent ones, and classes of a scene with
    each other, as in photographs.

    Args:
        counts: Number of sets that hold each class, (C,).
        size_probability: Probability of sets of 1, 2, ... classes; a set is smaller if too few classes remain.
        scenes: Scene of each class, (C,).
        affinity: At least 1; 1 ignores the scenes.
        rng: Random generator.
    """
    remaining = np.array(counts, dtype=np.float64)
    sizes = np.arange(1, len(size_probability) + 1)
    sets = []
    while remaining.any():
        labels: list[int] = []
        weights = remaining.copy()
        for _ in range(rng.choice(sizes, p=size_probability)):
            if not weights.any():
                break
            label = int(rng.choice(len(remaining), p=weights / weights.sum()))
            if not labels:
                weights[scenes == scenes[label]] *= affinity
            weights[label] = 0
            labels.append(label)
        remaining[labels] -= 1
        sets.append(labels)
    return sets


def place_labels(label_sets: Sequence[Sequence[int]], rng: np.random.Generator) -> np.ndarray:
    """Assign N sets of one to four classes to four tiles at random, some of them repeatedly, (N, 4)."""
    rows = [[*labels, *rng.choice(labels, 4 - len(labels))] for labels in label_sets]
    return rng.permuted(np.array(rows, dtype=np.int64), axis=1)


def draw_tiles(classes: np.ndarray, images: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw the image of each tile from the ``images`` of its class, which come in shuffled cycles, (N, 4)."""
    flat = classes.ravel()
    tiles = np.empty_like(flat)
    for label, members in enumerate(images):
        places = np.flatnonzero(flat == label)
        cycles = np.tile(members, (-(-len(places) // len(members)), 1))
        tiles[places] = rng.permuted(cycles, axis=1).ravel()[: len(places)]
    return tiles.reshape(classes.shape)
