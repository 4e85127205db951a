"""Split of a dataset into parts that all hold every class, for one label per image, several, or boxes."""

import logging
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from mmengine.logging import print_log

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['check_part_size', 'part_counts', 'stratified_split', 'warn_of_missing_classes']

SHOWN = 5  # classes in a message


def check_part_size(**sizes: float) -> None:
    """Raise an InputError unless each is a whole number of images per class, or a share, all together below 1."""
    check(**{name: (size, 'in (0, 1)' if isinstance(size, float) else 'int >= 1') for name, size in sizes.items()})
    shares = {name: size for name, size in sizes.items() if size < 1}
    if sum(shares.values()) >= 1:
        raise InputError(
            f'Expected {" + ".join(shares)} to be below 1, but got {" + ".join(map(str, shares.values()))}.'
        )


def part_counts(counts: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """Return how many images of each class each part gets, (1 + K, C), the training part first.

    A held-out part gets its number of images of each class, or its share of them, but at least one. All held-out parts
    together get at most half of a class, except that a class with as many images as parts has one in each. A class with
    fewer images is in the training part, then in the held-out parts in their order.

    Args:
        counts: Images per class, (C,).
        sizes: Of the K held-out parts: images per class, or, below 1, the share of the images.
    """
    num = len(sizes)
    wanted = np.stack([np.full(len(counts), size) if size >= 1 else np.rint(size * counts) for size in sizes])
    wanted = np.maximum(wanted, 1).astype(np.int64)  # (K, C)
    limit = np.maximum(counts // 2, np.minimum(counts - 1, num)).clip(min=0)  # (C,)
    for c in np.flatnonzero(wanted.sum(axis=0) > limit):
        scaled = np.maximum(np.floor(wanted[:, c] * limit[c] / wanted[:, c].sum()), 1).astype(np.int64)
        while scaled.sum() > limit[c]:  # from the last of the largest
            scaled[num - 1 - np.argmax(scaled[::-1])] -= 1
        while scaled.sum() < min(limit[c], wanted[:, c].sum()):
            scaled[np.argmax(wanted[:, c] - scaled)] += 1
        wanted[:, c] = scaled
    return np.concatenate([(counts - wanted.sum(axis=0))[None], wanted])


def stratified_split(table: LabelTable, sizes: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """Split samples into a training part and K held-out parts with the counts of :func:`part_counts`.

    With one label per image the counts are exact. Otherwise the images are distributed by iterative stratification,
    rarest class first, which comes close to them; unknown labels do not count. Images without label follow the mean
    share. The same seed and order of samples give the same parts.

    References:
        [0] Sechidis et al., On the Stratification of Multi-Label Data, ECML PKDD 2011.

    Args:
        table: Labels of the samples.
        sizes: Of the held-out parts: images per class, or, below 1, the share of the images.
        seed: Seed of the split.

    Returns:
        Ascending indices of each part, the training part first.
    """
    samples, classes = table.unique_pairs()
    counts = np.bincount(classes, minlength=table.num_classes)
    wanted = part_counts(counts, sizes)
    if table.is_single_label:
        part = _split_single(table.labels, counts, wanted, seed)
    else:
        part = _split_multi(len(table), samples, classes, wanted, seed)
    return [np.flatnonzero(part == k) for k in range(len(wanted))]


def warn_of_missing_classes(table: LabelTable, parts: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Log the classes that have images, but none in some part."""
    for name, part in zip(names, parts):
        present = np.bincount(table.take(part).labels, minlength=table.num_classes) > 0
        counts = table.image_counts
        missing = np.flatnonzero(~present & (counts > 0))
        if len(missing):
            known = table.class_names or range(table.num_classes)
            listed = ', '.join(f'{known[c]} ({counts[c]})' for c in missing[:SHOWN]) + ', ...' * (len(missing) > SHOWN)
            print_log(
                f'{len(missing)} of {table.num_classes} classes have too few images for the {name} part '
                f'(number of images): {listed}.',
                'current',
                logging.WARNING,
            )


def _split_single(labels: np.ndarray, counts: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each sample, (N,): the first of each class, in random order, are held out."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind='stable')]  # class by class, shuffled within each
    rank = np.empty(len(labels), dtype=np.int64)  # of each sample within its class
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = np.cumsum(wanted[1:], axis=0)[:, labels]  # (K, N)
    part = 1 + (rank >= ends).sum(axis=0)
    return np.where(part == len(wanted), 0, part)


def _split_multi(num: int, samples: np.ndarray, classes: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each sample, (N,), by iterative stratification."""
    if not len(samples):
        raise InputError('Expected labels to split by, but no image has one.')
    rng = np.random.default_rng(seed)
    part = np.full(num, -1)
    share = (wanted / np.maximum(wanted.sum(axis=0), 1)).mean(axis=1, where=wanted.sum(axis=0) > 0)
    room, missing = share * num, wanted.astype(float)  # (1 + K,), (1 + K, C): samples and labels still to come
    starts = np.searchsorted(samples, np.arange(num + 1))
    labels = [classes[start:end] for start, end in pairwise(starts)]  # of each sample
    members = _members(samples, classes, wanted.shape[1], rng)
    left = np.array([len(group) for group in members])  # samples of each class still to come

    def assign(sample: int, of_class: np.ndarray | None) -> None:
        keys = (missing[:, labels[sample]].clip(max=1).sum(axis=1), room)
        best = np.lexsort((keys[1], keys[0]) if of_class is None else (keys[1], keys[0], of_class))[-1]
        part[sample] = best
        room[best] -= 1
        missing[best, labels[sample]] -= 1
        left[labels[sample]] -= 1

    while left.any():
        c = np.where(left > 0, left, num + 1).argmin()
        for sample in members[c]:
            if part[sample] < 0:
                assign(sample, missing[:, c])
    for sample in rng.permutation(np.flatnonzero(part < 0)):  # without labels
        assign(sample, None)
    _repair(part, labels, members, wanted)
    return part


def _members(samples: np.ndarray, classes: np.ndarray, num_classes: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the samples of each class in random order."""
    order = rng.permutation(len(samples))
    order = order[np.argsort(classes[order], kind='stable')]
    return np.split(samples[order], np.cumsum(np.bincount(classes, minlength=num_classes))[:-1])


def _repair(part: np.ndarray, labels: list[np.ndarray], members: list[np.ndarray], wanted: np.ndarray) -> None:
    """Move an image into each part that lacks a class it should have, where no other class loses its last one."""
    have = np.zeros_like(wanted)
    for c, group in enumerate(members):
        have[:, c] = np.bincount(part[group], minlength=len(wanted))
    for k, c in np.argwhere((have == 0) & (wanted > 0)):
        for sample in members[c]:
            source, own = part[sample], labels[sample]
            if have[k, c] == 0 and (have[source, own] > 1).all():
                part[sample] = k
                have[source, own] -= 1
                have[k, own] += 1
