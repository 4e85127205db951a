"""How CIFAR-100 mosaics are drawn: which classes come together, and which images show them."""

from collections.abc import Sequence

import numpy as np

__all__ = ['draw_label_sets', 'draw_tiles', 'place_labels']


def draw_label_sets(
    counts: np.ndarray, size_probability: Sequence[float], scenes: np.ndarray, affinity: float, rng: np.random.Generator
) -> list[list[int]]:
    """Sets of classes, drawn until every class has come as often as it shall.

    The classes of a set are drawn one after another, each in proportion to how often it has still to come; those of
    the same scene as the first one are ``affinity`` times as likely as that. So rare classes come together with
    frequent ones, and the classes of a scene with each other, as in photographs.

    Args:
        counts: sets that shall hold each class, (C,).
        size_probability: of a set of 1, 2, ... classes; a set is smaller where too few classes are left.
        scenes: scene of each class, (C,).
        affinity: at least 1; 1 for no scenes.
        rng: where the randomness comes from.
    """
    left = np.array(counts, dtype=np.float64)
    sizes = np.arange(1, len(size_probability) + 1)
    sets = []
    while left.any():
        labels: list[int] = []
        weights = left.copy()
        for _ in range(rng.choice(sizes, p=size_probability)):
            if not weights.any():
                break
            label = int(rng.choice(len(left), p=weights / weights.sum()))
            if not labels:
                weights[scenes == scenes[label]] *= affinity
            weights[label] = 0
            labels.append(label)
        left[labels] -= 1
        sets.append(labels)
    return sets


def place_labels(label_sets: Sequence[Sequence[int]], rng: np.random.Generator) -> np.ndarray:
    """Class of each of the four tiles, (N, 4): all of a set, some of them twice or more, in random places.

    Args:
        label_sets: one to four classes each, N sets.
        rng: where the randomness comes from.
    """
    rows = [[*labels, *rng.choice(labels, 4 - len(labels))] for labels in label_sets]
    return rng.permuted(np.array(rows, dtype=np.int64), axis=1)


def draw_tiles(classes: np.ndarray, images: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Image of each tile: those of a class come in shuffled cycles, so that none comes twice before all have come.

    Args:
        classes: class of each tile, (N, 4).
        images: indices of the images of each class, C arrays.
        rng: where the randomness comes from.
    """
    flat = classes.ravel()
    tiles = np.empty_like(flat)
    for label, members in enumerate(images):
        places = np.flatnonzero(flat == label)
        cycles = np.tile(members, (-(-len(places) // len(members)), 1))
        tiles[places] = rng.permuted(cycles, axis=1).ravel()[: len(places)]
    return tiles.reshape(classes.shape)
