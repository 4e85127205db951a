"""Average precision of LVIS by the compiled package hotcoco: the figures of :class:`LVISEvaluator`, much faster."""

from collections.abc import Iterator, Sequence

import numpy as np

from ltmm.utils.environment import EnvironmentProblem, check_usable

from .lvis_data import Detections, GroundTruth, mask_areas
from .lvis_eval import (
    IOU_THRESHOLDS,
    MAX_PER_CLASS,
    MAX_PER_IMAGE,
    RECALL_LEVELS,
    SIZES,
    ClassAP,
    LVISEvaluator,
    count_objects,
    evaluated_pairs,
    ignored_objects,
    ranks_in_groups,
    tested_ids,
)

__all__ = ['HotcocoEvaluator', 'fastest_evaluator']

CLASSES_AT_ONCE = 128  # hotcoco's precisions of these take 8 MB
DETECTIONS_AT_ONCE = 2**18  # hotcoco's copies of these take 100 MB
NO_SIZE = 2 * SIZES['all'][1]  # area of an object that need not be detected


class HotcocoEvaluator:
    """Computes the average precision for any limit of detections by hotcoco, from arrays, some classes at a time.

    The figures equal those of :class:`LVISEvaluator`, and so those of the ``lvis`` package; which detection matches
    which object, only the former says. hotcoco gets the detections of verified classes that are within the limit.

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
        self.ground_truth, self.detections, self.segm = ground_truth, detections, iou_type == 'segm'
        self.num_images, self.num_classes = len(image_ids), len(category_ids)
        objects, found, self.partly_annotated = evaluated_pairs(ground_truth, detections, image_ids, category_ids)
        # by class and image, within these in the order of the files
        self.objects, self.object_pairs = _sorted(objects)  # (G',)
        self.found, self.found_pairs = _sorted(found)  # (D',)
        self.classes = self.found_pairs // max(self.num_images, 1)  # (D',)
        ignore = ignored_objects(ground_truth, self.objects)  # (G', A)
        self.images_per_class, self.num_gt = count_objects(self.object_pairs, ignore, self.num_images, self.num_classes)
        self.last: tuple[np.ndarray, ClassAP] | None = None

    # ------------------------------------------------------------------ which detections count

    def best_per_image(self, limit: int = MAX_PER_IMAGE) -> ClassAP:
        """Compute AP over the best detections of each image, LVIS's protocol."""
        return self._evaluate(self._best(self.detections.images, limit))

    def best_per_class(self, limit: int = MAX_PER_CLASS) -> ClassAP:
        """Compute AP_fixed, over the best detections of each class in all images."""
        return self._evaluate(self._best(self.detections.categories, limit))

    def _best(self, group: np.ndarray, limit: int) -> np.ndarray:
        """Return whether each evaluated detection is among the best of its group, (D',)."""
        _, group, count = np.unique(group, return_inverse=True, return_counts=True)
        keep = np.ones(len(group), dtype=bool)
        beyond = np.flatnonzero(count[group] > limit)  # only in these groups, ranks matter
        images, scores = self.detections.images[beyond], self.detections.scores[beyond]
        keep[beyond] = ranks_in_groups(group[beyond], images, scores) < limit
        return keep[self.found]

    def _evaluate(self, keep: np.ndarray) -> ClassAP:
        """Evaluate only the classes whose counted detections have changed since the last call; reuse the others.

        Args:
            keep: Whether each evaluated detection counts, (D',).
        """
        no_object = np.broadcast_to(self.num_gt[:, None] == 0, (self.num_classes, len(IOU_THRESHOLDS), len(SIZES)))
        precision, recall = np.zeros(no_object.shape), np.zeros(no_object.shape)
        changed = self.num_gt[:, 0] > 0
        if self.last is not None:
            before, known = self.last
            same = np.bincount(self.classes[keep != before], minlength=self.num_classes) == 0
            precision[same], recall[same] = known.precision[same], known.recall[same]
            changed &= ~same
        rows = np.flatnonzero(keep & changed[self.classes])
        for classes, part in _chunks(self.classes[rows]):
            precision[classes], recall[classes] = self._by_hotcoco(classes, rows[part])
        precision[no_object] = recall[no_object] = np.nan
        result = ClassAP(precision, recall, self.images_per_class, self.num_gt[:, 0])
        self.last = keep, result
        return result

    # ------------------------------------------------------------------ hotcoco

    def _by_hotcoco(self, classes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute mean precision over the recall levels and maximum recall, (K, T, A) each.

        Args:
            classes: The classes, ascending, (K,).
            rows: The evaluated detections of these classes that count.
        """
        import hotcoco

        truth = hotcoco.COCO.from_arrays(
            *self._images_and_classes(classes, self.found_pairs[rows]), **self._annotations(classes)
        )
        chosen = self.found[rows]
        columns = (self.detections.boxes[chosen], self.detections.scores[chosen], self.classes[rows])
        masks = [self.detections.masks[i] for i in chosen.tolist()] if self.segm else None
        found = truth.load_res(
            np.column_stack([self.found_pairs[rows] % self.num_images, *columns]), segmentation=masks
        )
        if self.segm:
            found.update_anns(ids=np.arange(1, len(chosen) + 1), area=mask_areas(masks))  # they were those of the boxes
        found = found.cap_detections_per_image(None)  # the limit has been applied
        evaluation = hotcoco.COCOeval(truth, found, 'segm' if self.segm else 'bbox', lvis_style=True)
        evaluation.params.iou_thrs, evaluation.params.rec_thrs = IOU_THRESHOLDS.tolist(), RECALL_LEVELS.tolist()
        evaluation.params.max_dets = [len(chosen)]  # of an image and class
        evaluation.evaluate()
        evaluation.accumulate()
        values = evaluation.eval
        precision = values['precision'][..., 0].mean(1)  # (T, K, A)
        return precision.transpose(1, 0, 2).clip(0), values['recall'][..., 0].transpose(1, 0, 2).clip(0)

    def _images_and_classes(self, classes: np.ndarray, found_pairs: np.ndarray) -> tuple[list[dict], list[dict]]:
        """Return hotcoco's records; classes with detections in an image count as verified there."""
        found_pairs = np.unique(found_pairs)
        verified = _by_image(found_pairs, self.num_images)
        partly = _by_image(found_pairs[np.isin(found_pairs, self.partly_annotated)], self.num_images)
        images = [
            dict(id=i, neg_category_ids=verified.get(i, []), not_exhaustive_category_ids=partly.get(i, []))
            for i in range(self.num_images)
        ]
        return images, [dict(id=c, name=str(c), frequency='f') for c in classes.tolist()]

    def _annotations(self, classes: np.ndarray) -> dict:
        """Return hotcoco's arrays of the objects of some classes."""
        of_class = np.isin(self.object_pairs // self.num_images, classes)
        objects, pairs = self.objects[of_class], self.object_pairs[of_class]
        truth = self.ground_truth
        return dict(
            image_ids=pairs % self.num_images,
            category_ids=pairs // self.num_images,
            boxes=truth.boxes[objects],
            area=np.where(truth.ignore[objects], NO_SIZE, truth.areas[objects]),
            iscrowd=truth.crowds[objects],
            segmentation=[truth.masks[i] for i in objects.tolist()] if self.segm else None,
        )


def fastest_evaluator() -> tuple[type[HotcocoEvaluator] | type[LVISEvaluator], str]:
    """Return :class:`HotcocoEvaluator`, or :class:`LVISEvaluator` and what is wrong with hotcoco."""
    try:
        check_usable('hotcoco')
    except EnvironmentProblem as e:
        return LVISEvaluator, str(e)
    return HotcocoEvaluator, ''


def _sorted(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the pairs other than -1, in the order of the pairs, and the pairs."""
    there = np.flatnonzero(pairs >= 0)
    there = there[np.argsort(pairs[there], kind='stable')]
    return there, pairs[there]


def _chunks(classes: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Divide sorted detections into parts of few classes and few detections; yield their classes and positions.

    Args:
        classes: Class per detection, (D,).
    """
    classes, count = np.unique(classes, return_counts=True)
    ends = np.append(0, np.cumsum(count))
    first = 0
    while first < len(classes):
        last = np.searchsorted(ends, ends[first] + DETECTIONS_AT_ONCE, side='right') - 1
        last = min(max(last, first + 1), first + CLASSES_AT_ONCE, len(classes))
        yield classes[first:last], slice(ends[first], ends[last])
        first = last


def _by_image(pairs: np.ndarray, num_images: int) -> dict[int, list[int]]:
    """Map images to the classes of their pairs."""
    order = np.argsort(pairs % num_images, kind='stable')
    images, first = np.unique(pairs[order] % num_images, return_index=True)
    classes = np.split(pairs[order] // num_images, first[1:])
    return dict(zip(images.tolist(), (each.tolist() for each in classes)))
