"""Predictions of a detector: what the objects are found as, and which boxes are false."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ltmm.datasets.labels.lvis_annotations import category_ids, read_lvis_annotations
from ltmm.evaluation.functional import CalibrationBins
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import FALSE, IGNORED, MAX_PER_IMAGE, TRUE, LVISEvaluator
from ltmm.utils.errors import InputError
from ltmm.utils.predictions import read_predictions

from .predictions import Groups, Picture, Predictions, bins_of_groups, of_images, percent_of_rows

__all__ = ['MIN_SCORE', 'BoxPredictions']

MIN_SCORE = 0.3  # of the boxes in the confusion and the pictures; as in mmdet's confusion matrix
NOT_FOUND, NOT_VERIFIED = -1, -2
FIELDS = dict(bboxes=(4,), scores=(), labels=())  # of pred_instances, and their shapes after the first dimension


@dataclass(frozen=True, eq=False)
class BoxPredictions(Predictions):
    """Boxes of a detector at IoU 0.5; each object is a case. The best 300 boxes of an image count, as for the AP.

    The boxes are matched as for the AP, class by class (:class:`LVISEvaluator`). Then the objects that no box of their
    class has found, with a score of at least ``MIN_SCORE``, are matched in the same way to the boxes of all classes
    that have no object of their own. The class of such a box need not be wrong if it is not verified in the image.

    Args:
        image_ids: Image ids, ascending, (N,).
        ground_truth: The objects.
        objects: Position of the object of each case, (M,).
        taken_for: Box of another class that an object is taken for, or -1, (M,).
        detections: D boxes.
        box_label: Class per box, (D,).
        outcome: ``TRUE``, ``FALSE``, or ``IGNORED``, of a class that is not verified in the image, (D,).
    """

    others = {NOT_FOUND: 'not found', NOT_VERIFIED: 'as a class not verified there'}
    wrong = 'as {}'
    cases = 'objects'
    note = (
        f'Boxes with a score of at least {MIN_SCORE} and an IoU of at least 0.5. First plot: rows are groups of the '
        'objects. Correct: found by a box of its class. Of the others, those under a box of another class that has no '
        'object of its own are split by the group of that class; in federated annotations (LVIS), a class that is '
        'not verified in the image may be right, too. Second plot: rows are groups of the predicted classes; boxes of '
        'classes that are not verified in the image do not count.'
    )
    axes = ('score', 'precision at IoU 0.5')
    counted = 'boxes'
    num_pictures = 3  # they are larger
    calibration_note = (
        'All predicted boxes count, with low scores too, but in federated annotations (LVIS) only those of classes '
        'that are verified in the image. If most scores are low, the error is small: look at the lines.'
    )

    image_ids: np.ndarray
    ground_truth: GroundTruth
    objects: np.ndarray
    taken_for: np.ndarray
    detections: Detections
    box_label: np.ndarray
    outcome: np.ndarray

    @classmethod
    def read(cls, path: Path, names: Sequence[str], ann_file: str) -> 'BoxPredictions':
        """Read the file of ``tools/test.py --out``.

        Args:
            path: The file.
            names: Class names, in label order.
            ann_file: Annotation file of the test set, in LVIS or COCO format.
        """
        content = read_lvis_annotations(ann_file)
        ground_truth = GroundTruth.from_content(content, ann_file)
        cat_ids = np.array(list(category_ids(content, ann_file, names).values()))
        samples, known = read_predictions(path), set(ground_truth.image_ids.tolist())
        for sample in samples:
            if not _is_valid(sample, len(names)) or sample['img_id'] not in known:
                raise InputError(
                    f'Expected {path} to have boxes, finite scores and labels of {len(names)} classes for images of '
                    f'{ann_file}, but image {sample.get("img_id")} has others.'
                )
        by_id = dict(sorted(((sample['img_id'], sample) for sample in samples), key=lambda pair: pair[0]))
        results = [(image_id, _best(sample['pred_instances'])) for image_id, sample in by_id.items()]
        found = Detections.from_results(results, cat_ids)
        return cls.match(tuple(names), ground_truth, found, list(by_id), cat_ids, **of_images(list(by_id.values())))

    @classmethod
    def match(
        cls,
        names: tuple[str, ...],
        ground_truth: GroundTruth,
        detections: Detections,
        image_ids: Sequence[int],
        category_ids: np.ndarray,
        **images,
    ) -> 'BoxPredictions':
        """Match boxes and objects.

        Args:
            names: C class names.
            ground_truth: The objects.
            detections: The boxes.
            image_ids: Tested images, ascending, (N,).
            category_ids: Category id per class, (C,).
            **images: ``paths`` and ``sample_idx``.
        """
        own = LVISEvaluator(ground_truth, detections, 'bbox', image_ids, category_ids)
        outcome, matched = np.full(len(detections.scores), IGNORED), np.full(len(detections.scores), -1)
        outcome[own.order], matched[own.order] = own.outcome[:, 0, 0], own.matched
        is_confident = detections.scores >= MIN_SCORE
        objects = own.objects[~ground_truth.ignore[own.objects]]  # (M,)
        is_found = np.zeros(len(ground_truth.images), dtype=bool)
        is_found[matched[is_confident & (outcome == TRUE)]] = True
        is_missed = np.zeros_like(is_found)
        is_missed[objects[~is_found[objects]]] = True

        any_class = LVISEvaluator(
            replace(ground_truth, categories=is_missed - 1, absent=None, not_exhaustive=np.empty((0, 2), dtype=int)),
            replace(detections, categories=(is_confident & (matched < 0)) - 1),
            'bbox',
            image_ids,
            [0],  # -1 is left out
        )
        pairs = any_class.matched >= 0
        taken_for = np.full(len(is_found), -1)
        taken_for[any_class.matched[pairs]] = any_class.order[pairs]
        taken_for = taken_for[objects]

        label = _labels(ground_truth.categories[objects], category_ids)
        box_label = _labels(detections.categories, category_ids)
        of_class = np.where(outcome == FALSE, box_label, NOT_VERIFIED)
        other = np.append(of_class, NOT_FOUND)[taken_for]  # -1 is the last
        return cls(
            names=names,
            label=label,
            pred=np.where(is_found[objects], label, other),
            test_images=own.num_images,
            image_ids=np.asarray(image_ids),
            ground_truth=ground_truth,
            objects=objects,
            taken_for=taken_for,
            detections=detections,
            box_label=box_label,
            outcome=outcome,
            **images,
        )

    def boxes_of_groups(self, masks: list[np.ndarray]) -> np.ndarray:
        """Return the shares of the predicted boxes of each group of classes, in percent, (G, 3).

        The columns are true boxes, false ones on an object of another class that its own class has not found, and other
        false ones: on the background, with too low an IoU, or a second one on an object. NaN for a group without boxes.

        Args:
            masks: Masks of the G groups, (C,) each.
        """
        chosen = (self.outcome != IGNORED) & (self.detections.scores >= MIN_SCORE)
        column = np.where(self.outcome == TRUE, 0, 2)
        column[self.taken_for[self.taken_for >= 0]] = 1
        counts = np.zeros((len(masks), 3))
        np.add.at(counts, (np.argmax(masks, axis=0)[self.box_label[chosen]], column[chosen]), 1)
        return percent_of_rows(counts)

    def calibration(self, groups: Groups) -> list[tuple[str, CalibrationBins]]:
        of = self.outcome != IGNORED
        return bins_of_groups(self.detections.scores[of], self.outcome[of] == TRUE, self.box_label[of], groups)

    def worst(self, label: int, num: int) -> dict[str, list[Picture]]:
        """Return objects of the class that are not found, those under a box of another class first; and false boxes."""
        scores, objects = self.detections.scores, self.objects
        missed = np.flatnonzero((self.label == label) & (self.pred != label))
        score = np.append(scores, 0)[self.taken_for[missed]]
        not_found = []
        for k in missed[np.argsort(-score, kind='stable')][:num].tolist():
            box = self.taken_for[k : k + 1][self.taken_for[k : k + 1] >= 0]  # one or none
            seen_as = ''.join(f'found as {self.names[self.box_label[b]]}, score {scores[b]:.2f}' for b in box)
            image_id = self.ground_truth.images[objects[k]]
            not_found.append(self._picture(image_id, seen_as or 'not found', objects[k : k + 1], box))
        false = np.flatnonzero((self.box_label == label) & (self.outcome == FALSE) & (scores >= MIN_SCORE))
        false_boxes = []
        for box in false[np.argsort(-scores[false], kind='stable')][:num]:
            image_id = self.detections.images[box]
            of_class = objects[(self.label == label) & (self.ground_truth.images[objects] == image_id)]
            caption = f'{self.names[label]}, score {scores[box]:.2f}'
            false_boxes.append(self._picture(image_id, caption, of_class, [box]))
        return {'objects not found': not_found, 'false boxes': false_boxes}

    def _picture(self, image_id: int, caption: str, objects: Sequence[int], boxes: Sequence[int]) -> Picture:
        height, width = self.ground_truth.sizes[self.ground_truth.image_ids == image_id][0]
        corners = []
        for of in (self.ground_truth.boxes[objects], self.detections.boxes[boxes]):
            corners.append(np.concatenate([of[:, :2], of[:, :2] + of[:, 2:]], axis=1) / [width, height, width, height])
        return Picture(int(np.searchsorted(self.image_ids, image_id)), caption, *corners)


def _is_valid(sample: dict, num_classes: int) -> bool:
    """Whether the prediction of an image has boxes, finite scores, and labels in range."""
    found = sample.get('pred_instances')
    if not isinstance(found, dict) or not all(isinstance(found.get(key), torch.Tensor) for key in FIELDS):
        return False
    boxes, scores, labels = (found[key] for key in FIELDS)
    shapes = [(len(labels), *rest) for rest in FIELDS.values()]
    return (
        isinstance(sample.get('img_id'), int)
        and [tuple(found[key].shape) for key in FIELDS] == shapes
        and bool(boxes.isfinite().all() and scores.isfinite().all())
        and bool((labels >= 0).all() and (labels < num_classes).all())
    )


def _best(found: dict) -> dict[str, np.ndarray]:
    """Return the best boxes of an image; of equal scores, the first."""
    arrays = {key: found[key].numpy() for key in FIELDS}
    order = np.argsort(-arrays['scores'], kind='stable')[:MAX_PER_IMAGE]
    return {key: array[order] for key, array in arrays.items()}


def _labels(categories: np.ndarray, category_ids: np.ndarray) -> np.ndarray:
    """Return the label of each category id."""
    order = np.argsort(category_ids)
    return order[np.searchsorted(category_ids, categories, sorter=order)]
