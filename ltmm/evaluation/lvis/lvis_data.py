"""Objects and detections as arrays, read from annotation and result files in LVIS or COCO format."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ltmm.datasets.labels.lvis_annotations import is_box
from ltmm.datasets.labels.lvis_masks import find_invalid_mask
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.data_files import read_json
from ltmm.utils.errors import InputError

__all__ = ['Detections', 'GroundTruth', 'encode_masks', 'mask_areas', 'packed_masks']

MAX_MASKS = 255  # per call of mask_utils.area(), which stores their number in a byte
RESULT_FIELDS = ('image_id', 'category_id', 'score', 'bbox')
FEDERATED_FIELDS = ('neg_category_ids', 'not_exhaustive_category_ids')


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """G objects in I images, in the order of the annotation file.

    Args:
        image_ids: Image ids, (I,).
        sizes: Height and width per image, (I, 2).
        category_ids: Ids of all categories, (C,).
        images: Image id per object, (G,).
        categories: Category id per object, (G,).
        boxes: [x, y, w, h] in pixels, (G, 4).
        areas: Areas in the file, in pixels, (G,).
        ignore: Objects that need not be detected, (G,).
        crowds: Objects that match any number of detections, (G,).
        masks: G run-length codes, or None.
        absent: Pairs (image id, category id) verified to be absent, (P, 2); None if all classes are verified.
        not_exhaustive: Pairs (image id, category id) not annotated exhaustively, (Q, 2).
    """

    image_ids: np.ndarray
    sizes: np.ndarray
    category_ids: np.ndarray
    images: np.ndarray
    categories: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignore: np.ndarray
    crowds: np.ndarray
    masks: list[dict] | None
    absent: np.ndarray | None
    not_exhaustive: np.ndarray

    @classmethod
    def from_content(cls, content: dict, ann_file: str, masks: bool = False) -> 'GroundTruth':
        """Convert the content of an annotation file in LVIS or COCO format.

        In COCO format, all classes count as verified in all images. Polygons with fewer than three points or an odd
        number of coordinates are dropped.

        Args:
            content: Result of :func:`read_lvis_annotations` with the same ``masks``.
            ann_file: Path of the file, for messages.
            masks: Read the masks.
        """
        images, annotations = content['images'], content['annotations']
        boxes = np.array([ann['bbox'] for ann in annotations], dtype=float).reshape(-1, 4)  # (G, 4)
        _check_records(ann_file, annotations, (boxes[:, 2:] < 0).any(1), 'annotations whose bbox has a negative size')
        for part in ('images', 'categories'):
            wrong = [not isinstance(record['id'], int) for record in content[part]]
            _check_records(ann_file, content[part], wrong, f'{part} whose id is not an integer')
        federated = any(field in image for image in images for field in FEDERATED_FIELDS)
        for field in FEDERATED_FIELDS if federated else ():
            wrong = [field not in image for image in images]
            _check_records(ann_file, images, wrong, f'images without the field {field!r}, which other images have')
        size = {image['id']: [image['height'], image['width']] for image in images}
        crowds = np.array([bool(ann.get('iscrowd', 0)) for ann in annotations], dtype=bool)
        codes = None
        if masks:
            codes = _pack(
                [ann['segmentation'] for ann in annotations],
                [size[ann['image_id']] for ann in annotations],
                lambda i: f'{ann_file}: the mask of annotation {annotations[i]["id"]}',
            )
        return cls(
            image_ids=np.array(list(size), dtype=int),
            sizes=np.array(list(size.values())).reshape(-1, 2),
            category_ids=np.array([category['id'] for category in content['categories']]),
            images=np.array([ann['image_id'] for ann in annotations], dtype=int),
            categories=np.array([ann['category_id'] for ann in annotations], dtype=int),
            boxes=boxes,
            areas=np.array([ann['area'] for ann in annotations], dtype=float),
            ignore=np.array([bool(ann.get('ignore', 0)) for ann in annotations], dtype=bool) | crowds,
            crowds=crowds,
            masks=codes,
            absent=_pairs(images, 'neg_category_ids') if federated else None,
            not_exhaustive=_pairs(images, 'not_exhaustive_category_ids') if federated else np.empty((0, 2), int),
        )


@dataclass(frozen=True, eq=False)
class Detections:
    """D detections; of those with equal scores, the first ranks first.

    Args:
        images: Image ids, (D,).
        categories: Category ids, (D,).
        scores: Scores, (D,).
        boxes: [x, y, w, h] in pixels, (D, 4).
        masks: D run-length codes, or None.
    """

    images: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: list[dict] | None = None

    @classmethod
    def from_results(
        cls, results: Sequence[tuple[int, Mapping]], category_ids: np.ndarray, iou_type: str = 'bbox'
    ) -> 'Detections':
        """Concatenate the predictions of a detector; boxes of negative size get area 0.

        Args:
            results: Image id, and arrays ``bboxes`` (K, 4) as [x1, y1, x2, y2], ``scores`` (K,), ``labels`` (K,); for
                masks also ``masks``, K run-length codes, and ``mask_scores`` (K,).
            category_ids: Category id per label, (C,).
            iou_type: ``'bbox'`` or ``'segm'``.
        """
        segm = iou_type == 'segm'

        def joined(key: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
            return np.concatenate([np.empty(shape, dtype), *(result[key] for _, result in results)])

        counts = np.array([len(result['labels']) for _, result in results], dtype=int)
        boxes = joined('bboxes', (0, 4), float)
        boxes[:, 2:] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        return cls(
            images=np.repeat(np.array([image_id for image_id, _ in results], dtype=int), counts),
            categories=np.asarray(category_ids)[joined('labels', (0,), int)],
            scores=joined('mask_scores' if segm else 'scores', (0,), float),
            boxes=boxes,
            masks=[mask for _, result in results for mask in result['masks']] if segm else None,
        )

    @classmethod
    def read(cls, path: str | Path, ground_truth: GroundTruth, masks: bool = False) -> 'Detections':
        """Read a JSON file of results in COCO format; boxes of negative size get area 0.

        Args:
            path: A list of dictionaries with image_id, category_id, score, and bbox [x, y, w, h] or segmentation.
            ground_truth: The objects in the same images.
            masks: Read the masks; detections without a bbox get that of their mask.
        """
        records = read_json(path, parse_int=_int64)
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise InputError(f'Expected {path} to be a list of dictionaries, one per detection.')
        size = dict(zip(ground_truth.image_ids.tolist(), ground_truth.sizes.tolist()))
        category_ids = set(ground_truth.category_ids.tolist())
        for key in (*RESULT_FIELDS[:3], 'segmentation' if masks else 'bbox'):
            _check_records(
                path, records, [key not in record for record in records], f'detections without the field {key!r}'
            )
        for key, is_valid, expected in (
            ('image_id', lambda x: _is_number(x) and x in size, 'in the annotation file'),
            ('category_id', lambda x: _is_number(x) and x in category_ids, 'in the annotation file'),
            ('score', lambda x: _is_number(x) and math.isfinite(x), 'a finite number'),
            ('bbox', is_box, 'four finite numbers [x, y, w, h]'),
        ):
            wrong = [key in record and not is_valid(record[key]) for record in records]
            _check_records(path, records, wrong, f'detections whose {key} is not {expected}')
        images = np.array([record['image_id'] for record in records], dtype=int)
        codes = None
        if masks:
            codes = packed_masks(
                [record['segmentation'] for record in records],
                [size[image_id] for image_id in images.tolist()],
                lambda i: f'{path}: the mask of detection {i}',
            )
        boxes = [
            record['bbox'] if 'bbox' in record else mask_utils.toBbox(codes[i]) for i, record in enumerate(records)
        ]
        boxes = np.array(boxes, dtype=float).reshape(-1, 4)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 0)
        return cls(
            images=images,
            categories=np.array([record['category_id'] for record in records], dtype=int),
            scores=np.array([record['score'] for record in records], dtype=float),
            boxes=boxes,
            masks=codes,
        )

    def write(self, path: str | Path) -> None:
        """Write a JSON file in COCO format, as :meth:`read` and the evaluation servers of COCO and LVIS expect it."""
        columns = dict(image_id=self.images, category_id=self.categories, score=self.scores, bbox=self.boxes)
        records = [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]
        for record, mask in zip(records, self.masks or ()):
            counts = mask['counts']
            counts = counts if isinstance(counts, str) else counts.decode()
            record['segmentation'] = dict(size=list(mask['size']), counts=counts)
        AtomicLocalBackend().put(json.dumps(records).encode(), path)

    def beyond(self, limit: int) -> str:
        """Describe the detections beyond a limit per image in one clause; empty if there are none."""
        counts = np.unique(self.images, return_counts=True)[1]
        if images := np.count_nonzero(counts > limit):
            return f'up to {counts.max()} detections per image, of which the best {limit} count (in {images} images)'
        return ''

    def num_beyond_images(self, ground_truth: GroundTruth) -> int:
        """Count the boxes that reach more than a pixel beyond their image."""
        size_of = dict(zip(ground_truth.image_ids.tolist(), ground_truth.sizes[:, ::-1].tolist()))
        sizes = np.array([size_of[image] for image in self.images.tolist()]).reshape(-1, 2)  # width, height
        starts, ends = self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]
        return int(((starts < -1) | (ends > sizes + 1)).any(1).sum())

    def areas(self) -> np.ndarray:
        """Areas of the masks, or of the boxes without masks, in pixels, (D,)."""
        if self.masks is None:
            return self.boxes[:, 2] * self.boxes[:, 3]
        return mask_areas(self.masks)


def mask_areas(masks: Sequence[Mapping]) -> np.ndarray:
    """Areas of K run-length codes in pixels, (K,)."""
    starts = range(0, len(masks), MAX_MASKS)
    return np.concatenate([np.zeros(0), *(mask_utils.area(masks[i : i + MAX_MASKS]) for i in starts)])


def encode_masks(masks: np.ndarray) -> list[dict]:
    """Encode binary masks, (K, H, W), as run-length codes."""
    return mask_utils.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)) if len(masks) else []


def packed_masks(masks: Sequence[Any], sizes: Sequence[Sequence[int]], name: Callable[[int], str]) -> list[Mapping]:
    """Check masks and convert them to compressed run-length codes.

    Args:
        masks: K lists of polygons, or run-length codes, compressed or not.
        sizes: Height and width of the image of each, (K, 2).
        name: Name of mask i, for messages.
    """
    invalid = find_invalid_mask(masks, sizes)
    if invalid:
        raise InputError(f'{name(invalid[0])} {invalid[1]}.')
    return _pack(masks, sizes, name)


def _pack(masks: Sequence[Any], sizes: Sequence[Sequence[int]], name: Callable[[int], str]) -> list[Mapping]:
    """Convert valid masks to compressed run-length codes."""
    packed = []
    for i, (mask, size) in enumerate(zip(masks, sizes)):
        if isinstance(mask, list):
            polygons = [polygon for polygon in mask if len(polygon) >= 6 and len(polygon) % 2 == 0]
            if not polygons:
                raise InputError(f'{name(i)} has no polygon with three or more points.')
            mask = mask_utils.merge(mask_utils.frPyObjects(polygons, *size))
        elif isinstance(mask['counts'], list):
            mask = mask_utils.frPyObjects(mask, *size)
        packed.append(mask)
    return packed


def _check_records(path: str | Path, records: Sequence[dict], is_wrong: Sequence[bool], problem: str) -> None:
    """Raise an error with the number of wrong records and the first of them."""
    if len(wrong := np.flatnonzero(is_wrong)):
        first = {key: value for key, value in records[wrong[0]].items() if key in ('id', *RESULT_FIELDS)}
        raise InputError(f'{path} has {len(wrong)} {problem}. The first is number {wrong[0]}, {first}.')


def _int64(text: str) -> int:
    """Read a number that an array can hold."""
    if len(text) > 18:
        raise ValueError(f'a number of {len(text)} digits')
    return int(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not abs(value) > sys.float_info.max


def _pairs(images: list[dict], field: str) -> np.ndarray:
    """Collect pairs (image id, category id), (P, 2)."""
    pairs = [(image['id'], category_id) for image in images for category_id in image[field]]
    return np.array(pairs, dtype=int).reshape(-1, 2)
