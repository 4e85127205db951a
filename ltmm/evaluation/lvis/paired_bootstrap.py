"""Difference of two detectors with an interval, by a paired bootstrap over the test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ltmm.utils.errors import InputError

from .lvis_data import GroundTruth
from .lvis_eval import IGNORED, IOU_THRESHOLDS, MAX_PER_IMAGE, RECALL_LEVELS, TRUE, LVISEvaluator, positions

__all__ = ['Difference', 'bootstrap_class_ap', 'paired_differences', 'resampled_images']

CHUNK = 2**24  # elements of the largest array


@dataclass(frozen=True)
class Difference:
    """Figures of two detectors A and B for a group of classes, all in [0, 1].

    Args:
        a: AP of A on the test images.
        b: AP of B.
        low: Lower bound of the interval of a - b.
        high: Upper bound.
        num_classes: Classes with objects.
    """

    a: float
    b: float
    low: float
    high: float
    num_classes: int


def resampled_images(num_images: int, num_resamples: int, seed: int = 0) -> np.ndarray:
    """Draw the images with replacement; return how often each was drawn, (R, I)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(num_images, size=(num_resamples, num_images))
    draws += np.arange(num_resamples)[:, None] * num_images
    counts = np.bincount(draws.ravel(), minlength=num_resamples * num_images)
    return counts.reshape(num_resamples, num_images).astype(np.int32)


def bootstrap_class_ap(
    evaluator: LVISEvaluator, ground_truth: GroundTruth, weights: np.ndarray, max_per_image: int = MAX_PER_IMAGE
) -> np.ndarray:
    """Compute the AP of each class on resampled images, (R, C); NaN without objects.

    An image that was drawn twice counts as two images with the same detections; nothing is matched again.

    Args:
        evaluator: The detections, matched.
        ground_truth: Its objects.
        weights: How often each image was drawn, in the order of the sorted image ids, (R, I).
        max_per_image: Detections per image that count.
    """
    keep = np.flatnonzero(evaluator.rank_in_image < max_per_image)
    keep = keep[np.lexsort((-evaluator.scores[evaluator.order[keep]], evaluator.categories[keep]))]  # best first
    outcome, images = evaluator.outcome[keep, 0], evaluator.images[keep]  # (D, T), (D,)
    bounds = np.searchsorted(evaluator.categories[keep], np.arange(evaluator.num_classes + 1))

    tested = evaluator.objects[~ground_truth.ignore[evaluator.objects]]
    image_of_object = positions(ground_truth.images[tested], evaluator.image_ids)
    category = positions(ground_truth.categories[tested], evaluator.category_ids)
    order = np.argsort(category, kind='stable')
    image_of_object = image_of_object[order]
    starts = np.searchsorted(category[order], np.arange(evaluator.num_classes + 1))

    ap = np.full((len(weights), evaluator.num_classes), np.nan)
    for c in np.flatnonzero(np.diff(starts)):
        of_class = slice(bounds[c], bounds[c + 1])
        objects = image_of_object[starts[c] : starts[c + 1]]
        size = max(1, CHUNK // max(of_class.stop - of_class.start, len(objects)))
        for first in range(0, len(weights), size):
            some = weights[first : first + size]
            num_objects = some[:, objects].sum(1)
            value = _average_precision(outcome[of_class], some[:, images[of_class]], num_objects)
            ap[first : first + size, c] = np.where(num_objects > 0, value, np.nan)
    return ap


def _average_precision(outcome: np.ndarray, weight: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """Compute the AP of one class, (R,), the mean over the IoU thresholds.

    Precision has its maxima at true detections; one of weight 0 has the recall of the one before it, and no higher
    precision.

    Args:
        outcome: Outcome of the detections, best first, (D, T).
        weight: Their weights, (R, D).
        num_objects: Objects to detect, (R,).
    """
    total, counted, last = np.zeros(len(weight)), None, None
    for column in outcome.T:
        if last is None or not np.array_equal(column != IGNORED, last):
            last = column != IGNORED
            counted = np.cumsum(weight * last, axis=1)  # true and false, (R, D)
        true = np.flatnonzero(column == TRUE)
        if not len(true):
            continue
        tp = np.cumsum(weight[:, true], axis=1)  # (R, P)
        precision = tp / np.maximum(counted[:, true], 1)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = tp / np.maximum(num_objects, 1)[:, None]
        reached = np.searchsorted(RECALL_LEVELS, recall, side='right')  # recall levels up to here
        total += (precision * np.diff(reached, axis=1, prepend=0)).sum(1)
    return total / (len(RECALL_LEVELS) * len(IOU_THRESHOLDS))


def paired_differences(
    a: LVISEvaluator,
    b: LVISEvaluator,
    ground_truth: GroundTruth,
    groups: Mapping[str, np.ndarray],
    num_resamples: int = 1000,
    confidence: float = 0.95,
    max_per_image: int = MAX_PER_IMAGE,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two detectors on the same resampled images, per group of classes with objects.

    The interval says how far the difference may depend on which images were tested; it says nothing of other trainings
    of the same detectors.

    Args:
        a: The first detector.
        b: The second, on the same images and classes.
        ground_truth: The objects.
        groups: Mask of the classes of each group, (C,).
        num_resamples: R.
        confidence: Coverage of the interval.
        max_per_image: Detections per image that count.
        seed: Random seed.
    """
    weights = resampled_images(len(a.image_ids), num_resamples, seed)
    weights = np.concatenate([np.ones_like(weights[:1]), weights])  # the test images as they are come first
    ap_a, ap_b = (bootstrap_class_ap(each, ground_truth, weights, max_per_image) for each in (a, b))
    tail = (1 - confidence) / 2
    found = {}
    for name, mask in groups.items():
        has_objects = ~np.isnan(ap_a[0]) & mask
        if has_objects.any():
            mean_a, mean_b = (_mean(ap[:, has_objects]) for ap in (ap_a, ap_b))  # (1 + R,)
            differences = (mean_a - mean_b)[1:]
            differences = differences[~np.isnan(differences)]
            if not len(differences):
                drawn = f'none of {num_resamples} resamples has an object of these classes'
                raise InputError(f'{name}: {drawn}. Draw more.')
            low, high = np.quantile(differences, [tail, 1 - tail])
            found[name] = Difference(mean_a[0], mean_b[0], low, high, int(has_objects.sum()))
    return found


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the classes that have objects; NaN if none has, (R,)."""
    present = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(present, values, 0).sum(1) / present.sum(1)
