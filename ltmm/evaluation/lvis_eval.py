"""LVIS's average precision on today's numpy, on any subset of the images, for any number of detections."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as mask_utils

__all__ = ['MAX_DETECTIONS', 'Detections', 'GroundTruth', 'LVISEvaluator', 'encode_masks']

MAX_DETECTIONS = 300  # an image, in LVIS's protocol
LOGGER = logging.getLogger('lvis')


class GroundTruth(LVIS):
    """The ground truth from the content of an annotation file, which :class:`lvis.LVIS` would read by itself.

    Annotations are numbered anew from 1: the package takes an id of 0 for "not found".

    Args:
        content: dictionary with images, annotations and categories.
    """

    def __init__(self, content: dict) -> None:
        self.logger = LOGGER
        self.dataset = content
        for i, annotation in enumerate(content['annotations'], start=1):
            annotation['id'] = i
        self._create_index()


class Detections(LVISResults):
    """Detections as annotations; there may be none.

    The area of a detection is that of its mask where it has one (``segmentation``), else that of its box, as in the
    ``lvis`` package when masks are submitted without boxes.

    Args:
        ground_truth: whose images and categories these are.
        annotations: dictionaries with image_id, category_id, score, and bbox [x, y, w, h] or segmentation (RLE).
    """

    def __init__(self, ground_truth: LVIS, annotations: list[dict]) -> None:
        self.logger = LOGGER
        for i, annotation in enumerate(annotations, start=1):
            if 'segmentation' in annotation:
                annotation['area'] = float(mask_utils.area(annotation['segmentation']))
            else:
                annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
            annotation['id'] = i
        self.dataset = {**ground_truth.dataset, 'annotations': annotations}
        self._create_index()


class LVISEvaluator(LVISEval):
    """:class:`lvis.LVISEval` for numpy 2, for the images that were tested, with frequency groups from anywhere.

    A class without ground truth in these images has no AP and counts nowhere; one with ground truth and without a
    detection has AP 0. A group of classes (or of object sizes) without any AP is -1. All as in the package, of whose
    release 0.5.3 two steps are written anew: the accumulation, which asks for ``np.float``, and the loop over all
    images and categories, most pairs of which have nothing in them.

    Args:
        ground_truth: the annotation file.
        detections: what the model found.
        iou_type: ``'bbox'`` or ``'segm'``.
        image_ids: images that were tested.
        frequency: 'r', 'c' or 'f' of the id of each category that was tested.
    """

    def __init__(
        self,
        ground_truth: GroundTruth,
        detections: Detections,
        iou_type: str,
        image_ids: Sequence[int],
        frequency: Mapping[int, str],
    ) -> None:
        super().__init__(ground_truth, detections, iou_type)
        self.logger = LOGGER
        self.params.img_ids = sorted(image_ids)
        self.params.cat_ids = sorted(frequency)
        self.frequency = frequency

    def _prepare_freq_group(self) -> list[list[int]]:
        """Positions of the rare, common and frequent categories in ``params.cat_ids``."""
        groups = [self.frequency[cat_id] for cat_id in self.params.cat_ids]
        return [[i for i, group in enumerate(groups) if group == label] for label in self.params.img_count_lbl]

    def evaluate(self) -> None:
        """Match detections and objects, for the pairs of image and category that have any."""
        self._prepare()
        pairs = sorted({*self._gts, *self._dts})
        self.ious = {pair: self.compute_iou(*pair) for pair in pairs}
        self.eval_imgs = defaultdict(list)
        for image_id, cat_id in pairs:
            for a, area_range in enumerate(self.params.area_rng):
                self.eval_imgs[cat_id, a].append(self.evaluate_img(image_id, cat_id, area_range))

    def accumulate(self) -> None:
        """Precision (T, R, C, A) and recall (T, C, A) over thresholds, recall levels, categories and object sizes."""
        p = self.params
        precision = -np.ones((len(p.iou_thrs), len(p.rec_thrs), len(p.cat_ids), len(p.area_rng)))
        recall = -np.ones((len(p.iou_thrs), len(p.cat_ids), len(p.area_rng)))
        for c, cat_id in enumerate(p.cat_ids):
            for a in range(len(p.area_rng)):
                images = self.eval_imgs[cat_id, a]
                num_gt = sum(np.count_nonzero(image['gt_ignore'] == 0) for image in images)
                if num_gt:
                    precision[:, :, c, a], recall[:, c, a] = _precision_recall(images, num_gt, p.rec_thrs)
        self.eval = dict(params=p, precision=precision, recall=recall)

    def run(self) -> dict[str, float]:
        """AP, AP50, AP75; APs, APm, APl by object size; APr, APc, APf by frequency; and average recalls, in [0, 1]."""
        super().run()
        return {name: float(value) for name, value in self.results.items()}


def _precision_recall(images: list[dict], num_gt: int, recall_levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolated precision at the recall levels, (T, R), and highest recall, (T,), of one category.

    Args:
        images: what ``evaluate_img`` gives for each image.
        num_gt: objects to be found.
        recall_levels: (R,).
    """
    order = np.argsort(-np.concatenate([image['dt_scores'] for image in images]), kind='mergesort')
    matched = np.concatenate([image['dt_matches'] for image in images], axis=1)[:, order] != 0  # (T, D)
    counts = ~np.concatenate([image['dt_ignore'] for image in images], axis=1)[:, order].astype(bool)
    tp, fp = np.cumsum(matched & counts, axis=1), np.cumsum(~matched & counts, axis=1)
    recall = tp / num_gt
    precision = tp / (fp + tp + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # levels that are not reached: 0
    at_levels = [row[np.searchsorted(r, recall_levels)] for row, r in zip(precision, recall)]
    return np.stack(at_levels), recall[:, -1] if tp.shape[1] else np.zeros(len(tp))


def encode_masks(masks: np.ndarray) -> list[dict]:
    """Run-length codes of binary masks, (K, H, W)."""
    return mask_utils.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)) if len(masks) else []
