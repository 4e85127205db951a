"""LVIS's federated average precision, from arrays, on any subset of the images and for any number of detections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from .lvis_data import Detections, GroundTruth

__all__ = ['MAX_PER_CLASS', 'MAX_PER_IMAGE', 'ClassAP', 'LVISEvaluator']

MAX_PER_IMAGE = 300  # detections of an image that count in LVIS's protocol
MAX_PER_CLASS = 10_000  # detections of a class that count in AP_fixed
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0, 1, 101)
SIZES = dict(all=(0, 1e10), small=(0, 32**2), medium=(32**2, 96**2), large=(96**2, 1e10))  # pixels
EMPTY_GROUP = -1.0
TRUE, IGNORED, FALSE = 1, 0, -1


@dataclass(frozen=True, eq=False)
class ClassAP:
    """Average precision and recall of C classes at T IoU thresholds for objects of A sizes; NaN without objects.

    Args:
        precision: mean over the recall levels, (C, T, A).
        recall: the highest, (C, T, A).
        num_images: images that hold an object to be found, (C,).
        num_objects: objects to be found, (C,).
    """

    precision: np.ndarray
    recall: np.ndarray
    num_images: np.ndarray
    num_objects: np.ndarray

    @property
    def ap(self) -> np.ndarray:
        """AP of each class, (C,)."""
        return self.precision[:, :, 0].mean(1)

    @property
    def ap50(self) -> np.ndarray:
        """AP of each class at an IoU of 0.5, (C,)."""
        return self.precision[:, 0, 0]

    def mean_ap(self, classes: np.ndarray) -> float:
        """Mean AP of some classes; -1 where none of them has an object.

        Args:
            classes: whether each is one of them, (C,).
        """
        return _mean(self.ap[classes])

    def figures(self, frequency: np.ndarray) -> dict[str, float]:
        """AP, AP50, AP75; APs, APm, APl by object size; APr, APc, APf by frequency; and average recalls, in [0, 1].

        A group of classes or of object sizes without any object is -1.

        Args:
            frequency: 'r', 'c' or 'f' of each class, (C,).
        """
        by_class, recall = self.precision.mean(1), self.recall.mean(1)  # (C, A)
        return dict(
            AP=_mean(by_class[:, 0]),
            AP50=_mean(self.ap50),
            AP75=_mean(self.precision[:, 5, 0]),
            **{f'AP{name[0]}': _mean(by_class[:, a]) for a, name in enumerate(SIZES) if a},
            **{f'AP{letter}': _mean(by_class[frequency == letter, 0]) for letter in 'rcf'},
            AR=_mean(recall[:, 0]),
            **{f'AR{name[0]}': _mean(recall[:, a]) for a, name in enumerate(SIZES) if a},
        )


class LVISEvaluator:
    """Matches detections with objects once, and gives the average precision of any part of the detections.

    The figures are those of the ``lvis`` package: an image is judged on the classes that were looked for in it; what
    is found beside the objects of a class that was not annotated exhaustively does not count; a class without an
    object in the tested images has no AP; one with objects and without a detection has AP 0. The area of a detection
    is that of its mask where it has one, else that of its box. Crowds are treated as in COCO's protocol; LVIS has none.

    [0] Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019, arXiv 1908.03195.

    Args:
        ground_truth: the objects.
        detections: what the model found.
        iou_type: ``'bbox'`` or ``'segm'``.
        image_ids: images that were tested; all when left out.
        category_ids: of the tested classes, in label order, (C,); all when left out.
    """

    def __init__(
        self,
        ground_truth: GroundTruth,
        detections: Detections,
        iou_type: str,
        image_ids: Sequence[int] | None = None,
        category_ids: Sequence[int] | None = None,
    ) -> None:
        image_ids = np.unique(ground_truth.image_ids if image_ids is None else image_ids)
        category_ids = np.asarray(ground_truth.category_ids if category_ids is None else category_ids)
        self.num_classes = len(category_ids)
        self.scores = detections.scores

        def keys(images: np.ndarray, categories: np.ndarray) -> np.ndarray:
            """A number of each pair of class and image, -1 for what was not tested."""
            image, category = _positions(images, image_ids), _positions(categories, category_ids)
            return np.where((image < 0) | (category < 0), -1, category * len(image_ids) + image)

        objects, found = (keys(x.images, x.categories) for x in (ground_truth, detections))
        if ground_truth.absent is not None:
            found[~np.isin(found, np.concatenate([objects, keys(*ground_truth.absent.T)]))] = -1
        # class by class, image by image, best first
        self.order = np.lexsort((-self.scores, found))[np.count_nonzero(found < 0) :]  # (D',)
        found = found[self.order]
        is_partly_annotated = np.isin(found, keys(*ground_truth.not_exhaustive.T))

        limits = np.array(list(SIZES.values()))  # (A, 2)
        area = detections.areas()[self.order, None]
        does_not_count = (area < limits[:, 0]) | (area > limits[:, 1]) | is_partly_annotated[:, None]  # (D', A)
        unmatched = np.where(does_not_count, IGNORED, FALSE).astype(np.int8)
        self.outcome = np.repeat(unmatched[:, :, None], len(IOU_THRESHOLDS), axis=2)  # (D', A, T)

        tested = np.argsort(objects, kind='stable')[np.count_nonzero(objects < 0) :]  # (G',)
        objects = objects[tested]
        area = ground_truth.areas[tested, None]
        ignore = (area < limits[:, 0]) | (area > limits[:, 1]) | ground_truth.ignore[tested, None]  # (G', A)
        self._count(objects // len(image_ids), objects, ignore)
        self._match(ground_truth, detections, iou_type, tested, objects, ignore, found)
        self.images, self.categories = found % len(image_ids), found // len(image_ids)  # (D',)
        self._rank(detections)

    # ------------------------------------------------------------------ which detections count

    def best_per_image(self, limit: int = MAX_PER_IMAGE) -> ClassAP:
        """LVIS's protocol: the best detections of each image count."""
        return self._accumulate(self.rank_in_image < limit)

    def best_per_class(self, limit: int = MAX_PER_CLASS) -> ClassAP:
        """AP_fixed: the best detections of each class count, over all images, however many there are in one.

        Classes then no longer compete for places in an image. A detector whose own ``max_per_img`` is 300 gives no more
        than these.

        [0] Dave et al., Evaluating Large-Vocabulary Object Detectors: The Devil is in the Details, arXiv 2102.01066.
        """
        return self._accumulate(self.rank_in_class < limit)

    def _rank(self, detections: Detections) -> None:
        """Place of each detection in its image and in its class, those that are not judged included, (D',)."""
        for name, group in (('rank_in_image', detections.images), ('rank_in_class', detections.categories)):
            order = np.lexsort((detections.images, -self.scores, group))
            _, first, count = np.unique(group[order], return_index=True, return_counts=True)
            rank = np.empty(len(order), dtype=int)
            rank[order] = np.arange(len(order)) - np.repeat(first, count)
            setattr(self, name, rank[self.order])

    # ------------------------------------------------------------------ matching

    def _count(self, classes: np.ndarray, pairs: np.ndarray, ignore: np.ndarray) -> None:
        """Objects of each size, and images with an object, of each class."""
        self.num_gt = np.stack(
            [np.bincount(classes[~column], minlength=self.num_classes) for column in ignore.T], axis=1
        )  # (C, A)
        _, first = np.unique(pairs[~ignore[:, 0]], return_index=True)
        self.num_images = np.bincount(classes[~ignore[:, 0]][first], minlength=self.num_classes)

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
        """Write the outcome of the detections that overlap an object of their class."""
        pairs, start, count = np.unique(objects, return_index=True, return_counts=True)
        begin, end = np.searchsorted(found, pairs, 'left'), np.searchsorted(found, pairs, 'right')
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
                self.outcome[dt][near] = _matched(ious[near], ignore[gt].T, crowds, self.outcome[dt][near])

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


def _matched(ious: np.ndarray, ignore: np.ndarray, crowds: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Outcome of detections of one class in one image, best first, each of which takes the object it overlaps most.

    An object that counts goes before one to be ignored; of objects that are overlapped alike, the last one is taken.

    Args:
        ious: (D, G).
        ignore: objects to be ignored at each size, (A, G).
        crowds: objects that can be taken more than once, (G,).
        outcome: what becomes of the detections that take no object, (D, A, T).
    """
    num_objects, outcome = ious.shape[1], outcome.copy()
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
    return outcome


def _precision_recall(outcome: np.ndarray, num_gt: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean precision over the recall levels and highest recall, (T,) both, of one class.

    Args:
        outcome: of its detections, best first, (T, D).
        num_gt: objects to be found.
    """
    tp, fp = np.cumsum(outcome == TRUE, axis=1), np.cumsum(outcome == FALSE, axis=1)
    recall = tp / num_gt
    precision = tp / (fp + tp + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # levels that are not reached: 0
    at_levels = [row[np.searchsorted(r, RECALL_LEVELS)].mean() for row, r in zip(precision, recall)]
    return np.array(at_levels), recall[:, -1] if tp.shape[1] else np.zeros(len(tp))


def _positions(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where each value stands in ``ids``, -1 where it does not."""
    if not len(ids):
        return np.full(len(values), -1)
    order = np.argsort(ids)
    at = order[np.searchsorted(ids, values, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[at] == values, at, -1)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else EMPTY_GROUP
