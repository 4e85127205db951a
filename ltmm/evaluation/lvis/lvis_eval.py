"""Federated average precision of LVIS, for any subset of the images and any number of detections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from .lvis_data import Detections, GroundTruth

__all__ = ['MAX_PER_CLASS', 'MAX_PER_IMAGE', 'ClassAP', 'LVISEvaluator']

MAX_PER_IMAGE = 300  # detections per image in LVIS's protocol
MAX_PER_CLASS = 10_000  # detections per class in AP_fixed
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0, 1, 101)
SIZES = dict(all=(0, 1e10), small=(0, 32**2), medium=(32**2, 96**2), large=(96**2, 1e10))  # pixels
FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf', 'AR', 'ARs', 'ARm', 'ARl')
EMPTY_GROUP = -1.0
TRUE, IGNORED, FALSE = 1, 0, -1


@dataclass(frozen=True, eq=False)
class ClassAP:
    """Average precision and recall of C classes at T IoU thresholds for A object sizes; NaN without objects.

    Args:
        precision: Mean precision over the recall levels, (C, T, A).
        recall: Maximum recall, (C, T, A).
        num_images: Images with an object to detect, (C,).
        num_objects: Objects to detect, (C,).
    """

    precision: np.ndarray
    recall: np.ndarray
    num_images: np.ndarray
    num_objects: np.ndarray

    @property
    def ap(self) -> np.ndarray:
        """AP per class, (C,)."""
        return self.precision[:, :, 0].mean(1)

    @property
    def ap50(self) -> np.ndarray:
        """AP per class at IoU 0.5, (C,)."""
        return self.precision[:, 0, 0]

    def mean_ap(self, classes: np.ndarray) -> float:
        """Mean AP over the classes of a mask, (C,); -1 if none of them has objects."""
        return _mean(self.ap[classes])

    def figures(self, frequency: np.ndarray) -> dict[str, float]:
        """Compute ``FIGURES``: AP; AP50, AP75; APs, APm, APl by object size; APr, APc, APf by frequency; recalls.

        All are in [0, 1]; a group without objects is -1.

        Args:
            frequency: 'r', 'c' or 'f' per class, (C,).
        """
        all_sizes, *sizes = self.precision.mean(1).T  # (C,) each
        values = [all_sizes, self.ap50, self.precision[:, 5, 0], *sizes]
        values += [all_sizes[frequency == letter] for letter in 'rcf']
        values += list(self.recall.mean(1).T)
        return {name: _mean(value) for name, value in zip(FIGURES, values, strict=True)}


class LVISEvaluator:
    """Matches detections to objects once, then computes the average precision for any limit of detections.

    The figures equal those of the ``lvis`` package: an image counts for the classes verified in it; unmatched
    detections of classes not annotated exhaustively are ignored; a class without objects in the tested images has no
    AP; one with objects but no detections has AP 0. The area of a detection is that of its mask, or of its box without
    a mask. Crowds are treated as in COCO's protocol; LVIS has none.

    Of each evaluated detection, ``outcome`` says whether it is true, false or ignored, (D', sizes, IoU thresholds);
    ``order`` and ``matched`` are its position and that of its object at IoU 0.5, -1 without one, (D',) each.

    [0] Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019, arXiv 1908.03195.

    Args:
        ground_truth: The objects.
        detections: The detections.
        iou_type: ``'bbox'`` or ``'segm'``.
        image_ids: Tested images. Default: all.
        category_ids: Tested classes, in label order, (C,). Default: all.
    """

    def __init__(
        self,
        ground_truth: GroundTruth,
        detections: Detections,
        iou_type: str,
        image_ids: Sequence[int] | None = None,
        category_ids: Sequence[int] | None = None,
    ) -> None:
        image_ids, category_ids = tested_ids(ground_truth, image_ids, category_ids)
        self.num_classes = len(category_ids)
        self.image_ids, self.category_ids = image_ids, category_ids
        self.scores = detections.scores
        objects, found, partly_annotated = evaluated_pairs(ground_truth, detections, image_ids, category_ids)
        # by class, image and descending score
        self.order = np.lexsort((-self.scores, found))[np.count_nonzero(found < 0) :]  # (D',)
        found = found[self.order]
        is_partly_annotated = np.isin(found, partly_annotated)

        does_not_count = _other_size(detections.areas()[self.order]) | is_partly_annotated[:, None]  # (D', A)
        unmatched = np.where(does_not_count, IGNORED, FALSE).astype(np.int8)
        self.outcome = np.repeat(unmatched[:, :, None], len(IOU_THRESHOLDS), axis=2)  # (D', A, T)
        self.matched = np.full(len(found), -1)  # object per detection at IoU 0.5, all sizes, (D',)

        tested = np.argsort(objects, kind='stable')[np.count_nonzero(objects < 0) :]  # (G',)
        self.objects, objects = tested, objects[tested]
        ignore = ignored_objects(ground_truth, tested)  # (G', A)
        self.num_images, self.num_gt = count_objects(objects, ignore, len(image_ids), self.num_classes)
        self._match(ground_truth, detections, iou_type, tested, objects, ignore, found)
        self.images, self.categories = found % len(image_ids), found // len(image_ids)  # (D',)
        self._rank(detections)

    # ------------------------------------------------------------------ which detections count

    def best_per_image(self, limit: int = MAX_PER_IMAGE) -> ClassAP:
        """Compute AP over the best detections of each image, LVIS's protocol."""
        return self._accumulate(self.rank_in_image < limit)

    def best_per_class(self, limit: int = MAX_PER_CLASS) -> ClassAP:
        """Compute AP_fixed, over the best detections of each class in all images.

        Classes then do not compete for the detections of an image. Raise the detector's ``max_per_img`` for it.

        [0] Dave et al., Evaluating Large-Vocabulary Object Detectors: The Devil is in the Details, arXiv 2102.01066.
        """
        return self._accumulate(self.rank_in_class < limit)

    def _rank(self, detections: Detections) -> None:
        """Rank the detections within their image and within their class, including those not evaluated, (D',)."""
        self.rank_in_image, self.rank_in_class = (
            ranks_in_groups(group, detections.images, detections.scores)[self.order]
            for group in (detections.images, detections.categories)
        )

    # ------------------------------------------------------------------ matching

    def _match(
        self,
        ground_truth: GroundTruth,
        detections: Detections,
        iou_type: str,
        tested: np.ndarray,
        objects: np.ndarray,
        ignore: np.ndarray,
        found: np.ndarray,
    ) -> None:
        """Update the outcome of the detections that overlap an object of their class."""
        unique, start, count = np.unique(objects, return_index=True, return_counts=True)
        begin, end = np.searchsorted(found, unique, 'left'), np.searchsorted(found, unique, 'right')
        for k in np.flatnonzero(begin < end):
            gt, dt = slice(start[k], start[k] + count[k]), slice(begin[k], end[k])
            rows, columns = self.order[dt], tested[gt]
            crowds = ground_truth.crowds[columns]
            if iou_type == 'segm':
                dt_shapes, gt_shapes = [detections.masks[i] for i in rows], [ground_truth.masks[i] for i in columns]
            else:
                dt_shapes, gt_shapes = detections.boxes[rows], ground_truth.boxes[columns]
            ious = mask_utils.iou(dt_shapes, gt_shapes, crowds.astype(np.uint8))  # (D, G)
            near = np.flatnonzero(ious.max(1) >= IOU_THRESHOLDS[0])
            if len(near):
                self.outcome[dt][near], match = _matched(ious[near], ignore[gt].T, crowds, self.outcome[dt][near])
                self.matched[dt][near] = np.where(match < 0, -1, columns[match])

    # ------------------------------------------------------------------ precision and recall

    def _accumulate(self, keep: np.ndarray) -> ClassAP:
        outcome, categories = self.outcome[keep], self.categories[keep]
        order = np.lexsort((-self.scores[self.order[keep]], categories))  # class by class, best first
        bounds = np.searchsorted(categories[order], np.arange(self.num_classes + 1))
        shape = (self.num_classes, len(IOU_THRESHOLDS), len(SIZES))
        precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
        for c in np.flatnonzero(self.num_gt[:, 0]):
            of_class = outcome[order[bounds[c] : bounds[c + 1]]]  # (D, A, T)
            for a in np.flatnonzero(self.num_gt[c]):
                precision[c, :, a], recall[c, :, a] = _precision_recall(of_class[:, a].T, self.num_gt[c, a])
        return ClassAP(precision, recall, self.num_images, self.num_gt[:, 0])


def _matched(
    ious: np.ndarray, ignore: np.ndarray, crowds: np.ndarray, outcome: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections of one class in one image greedily, best first, to the object with the highest IoU.

    Return the outcome, (D, A, T), and the object matched at IoU 0.5, all sizes, or -1, (D,). Ignored objects come last;
    of objects with equal IoU, the last one is matched.

    Args:
        ious: IoU of detections and objects, (D, G).
        ignore: Ignored objects per size, (A, G).
        crowds: Objects that can be matched more than once, (G,).
        outcome: Outcome of unmatched detections, (D, A, T).
    """
    num_objects, outcome, match = ious.shape[1], outcome.copy(), np.full(len(ious), -1)
    rank = np.argsort(np.argsort(ious, axis=1, kind='stable'), axis=1)  # (D, G)
    preference = rank[:, None, :] + num_objects * ~ignore  # (D, A, G)
    free = np.ones((len(ignore), len(IOU_THRESHOLDS), num_objects), dtype=bool)  # (A, T, G)
    overlaps = ious[:, None, :] >= IOU_THRESHOLDS[:, None]  # (D, T, G)
    for d in range(len(ious)):
        within_reach = np.where(free & overlaps[d], preference[d, :, None], -1)  # (A, T, G)
        best = within_reach.argmax(-1)  # (A, T)
        size, threshold = np.nonzero(within_reach.max(-1) >= 0)
        taken = best[size, threshold]
        free[size, threshold, taken] = crowds[taken]
        outcome[d, size, threshold] = np.where(ignore[size, taken], IGNORED, TRUE)
        if within_reach[0, 0].max() >= 0:
            match[d] = best[0, 0]
    return outcome, match


def _precision_recall(outcome: np.ndarray, num_gt: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean precision over the recall levels and maximum recall of one class, (T,) each.

    Args:
        outcome: Outcome of the detections, best first, (T, D).
        num_gt: Number of objects to detect.
    """
    tp, fp = np.cumsum(outcome == TRUE, axis=1), np.cumsum(outcome == FALSE, axis=1)
    recall = tp / num_gt
    precision = tp / (fp + tp + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # precision 0 at recall levels that are not reached
    at_levels = [row[np.searchsorted(r, RECALL_LEVELS)].mean() for row, r in zip(precision, recall)]
    return np.array(at_levels), recall[:, -1] if tp.shape[1] else np.zeros(len(tp))


# ------------------------------------------------------------------ what is evaluated


def tested_ids(
    ground_truth: GroundTruth, image_ids: Sequence[int] | None, category_ids: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted ids of the tested images, (I,), and those of the classes, (C,); all of them by default."""
    image_ids = np.unique(ground_truth.image_ids if image_ids is None else image_ids)
    return image_ids, np.asarray(ground_truth.category_ids if category_ids is None else category_ids)


def evaluated_pairs(
    ground_truth: GroundTruth, detections: Detections, image_ids: np.ndarray, category_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the pairs of class c and image i as c I + i.

    Returns:
        The pair of each object, (G,), -1 if it is not tested; of each detection, (D,), -1 if it is not tested or its
        class not verified in its image; and the pairs not annotated exhaustively, (Q,).
    """

    def numbers(images: np.ndarray, categories: np.ndarray) -> np.ndarray:
        image, category = positions(images, image_ids), positions(categories, category_ids)
        return np.where((image < 0) | (category < 0), -1, category * len(image_ids) + image)

    objects, found = (numbers(x.images, x.categories) for x in (ground_truth, detections))
    if ground_truth.absent is not None:
        found[~np.isin(found, np.concatenate([objects, numbers(*ground_truth.absent.T)]))] = -1
    return objects, found, numbers(*ground_truth.not_exhaustive.T)


def ignored_objects(ground_truth: GroundTruth, objects: np.ndarray) -> np.ndarray:
    """Return which objects need not be detected, per size, (G', A)."""
    return _other_size(ground_truth.areas[objects]) | ground_truth.ignore[objects, None]


def _other_size(area: np.ndarray) -> np.ndarray:
    """Return whether areas are outside the limits of each size, (N, A)."""
    limits = np.array(list(SIZES.values()))  # (A, 2)
    return (area[:, None] < limits[:, 0]) | (area[:, None] > limits[:, 1])


def count_objects(
    objects: np.ndarray, ignore: np.ndarray, num_images: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count the images with an object to detect per class, (C,), and the objects per class and size, (C, A).

    Args:
        objects: Pair of class and image per object, (G',), see :func:`evaluated_pairs`.
        ignore: Objects that need not be detected, per size, (G', A).
    """
    classes = objects // max(num_images, 1)
    num_objects = [np.bincount(classes[~column], minlength=num_classes) for column in ignore.T]
    with_object = np.unique(objects[~ignore[:, 0]]) // max(num_images, 1)
    return np.bincount(with_object, minlength=num_classes), np.stack(num_objects, axis=1)


def ranks_in_groups(group: np.ndarray, images: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rank detections within their group: the highest score first, then the smallest image id, (D,).

    Args:
        group: Group per detection, (D,).
        images: Image id per detection, (D,).
        scores: Score per detection, (D,).
    """
    order = np.lexsort((images, -scores, group))
    _, first, count = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order)) - np.repeat(first, count)
    return rank


def positions(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the position of each value in ``ids``, or -1."""
    if not len(ids):
        return np.full(len(values), -1)
    order = np.argsort(ids)
    at = order[np.searchsorted(ids, values, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[at] == values, at, -1)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else EMPTY_GROUP
