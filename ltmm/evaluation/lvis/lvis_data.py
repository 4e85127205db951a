"""Objects and detections as arrays, read from annotation files and files of results with every mistake named."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ltmm.datasets.labels.lvis_annotations import AnnotationFileError, is_box
from ltmm.datasets.labels.lvis_masks import find_invalid_mask
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError

__all__ = ['DetectionFileError', 'Detections', 'GroundTruth', 'encode_masks', 'packed_masks']

MAX_MASKS = 255  # whose areas pycocotools finds at once: it puts their number into a byte, which numpy 2 refuses
VERIFIED_FIELDS = ('neg_category_ids', 'not_exhaustive_category_ids')


class DetectionFileError(InputError):
    """A file of detections that cannot be read, or does not belong to the annotation file."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What can be found in I images: G objects, in the order of the annotation file.

    Args:
        image_ids: (I,).
        sizes: height and width of each image, (I, 2).
        category_ids: of all categories of the file, (C,).
        images: image id of each object, (G,).
        categories: category id of each object, (G,).
        boxes: [x, y, w, h] in pixels, (G, 4).
        areas: as the file says, in pixels, (G,).
        ignore: objects that need not be found, (G,).
        crowds: objects that any number of detections may match without harm, (G,).
        masks: run-length codes, G of them; None where masks were not asked for.
        absent: rows (image id, category id) of the classes that were looked for in an image and are not in it, (P, 2);
            None where all classes were looked for in all images.
        not_exhaustive: rows (image id, category id) of the classes of which not all objects are annotated, (Q, 2).
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
        """From the content of an annotation file of LVIS's or COCO's layout.

        Where no image says which classes were looked for in it (COCO's layout), all were, in all images. An object
        without width or height can never be found. Of a mask, polygons with fewer than three points, and those with an
        odd number of coordinates, are left out.

        Args:
            content: what :func:`read_lvis_annotations` gives, with ``masks`` alike.
            ann_file: its path, for messages.
            masks: read the masks too.

        Raises:
            AnnotationFileError: ids of images or categories that are no whole numbers, boxes of negative size, images
                of which only a part has LVIS's fields, or a mask without a polygon that is left.
        """
        images, annotations = content['images'], content['annotations']
        boxes = np.array([ann['bbox'] for ann in annotations], dtype=float).reshape(-1, 4)  # (G, 4)
        broken = np.flatnonzero((boxes[:, 2:] < 0).any(1))
        if len(broken):
            raise AnnotationFileError(
                f'{ann_file} has {len(broken)} annotations whose bbox is of negative size; the first is '
                f'annotation {annotations[broken[0]]["id"]} with {annotations[broken[0]]["bbox"]}.'
            )
        for part in ('images', 'categories'):
            named = [record['id'] for record in content[part] if not isinstance(record['id'], int)]
            if named:
                raise AnnotationFileError(
                    f'{ann_file} has {len(named)} {part} whose id is no whole number; the first is {named[0]!r}.'
                )
        federated = any(field in image for image in images for field in VERIFIED_FIELDS)
        for field in VERIFIED_FIELDS if federated else ():
            lacking = [image['id'] for image in images if field not in image]
            if lacking:
                raise AnnotationFileError(
                    f'{ann_file} has {len(lacking)} images without the field {field!r}, image {lacking[0]} first, '
                    "though other images have LVIS's fields. Give them to all images, or to none (COCO's layout)."
                )
        size = {image['id']: [image['height'], image['width']] for image in images}
        sizes = [size[ann['image_id']] for ann in annotations] if masks else []
        crowds = np.array([bool(ann.get('iscrowd', 0)) for ann in annotations], dtype=bool)
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
            masks=_packed(
                [ann['segmentation'] for ann in annotations],
                sizes,
                lambda i: f'{ann_file}: the mask of annotation {annotations[i]["id"]}',
                AnnotationFileError,
            )
            if masks
            else None,
            absent=_pairs(images, 'neg_category_ids') if federated else None,
            not_exhaustive=_pairs(images, 'not_exhaustive_category_ids') if federated else np.empty((0, 2), int),
        )


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model found: D detections; where scores are equal, the first in this order goes first.

    Args:
        images: image ids, (D,).
        categories: category ids, (D,).
        scores: (D,).
        boxes: [x, y, w, h] in pixels, (D, 4).
        masks: run-length codes, D of them, or None.
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
        """From what a detector gives, image by image. A box that ends before it begins has no area.

        Args:
            results: image id, and arrays ``bboxes`` (K, 4) as [x1, y1, x2, y2], ``scores`` (K,), ``labels`` (K,); for
                masks also ``masks``, K run-length codes, and ``mask_scores`` (K,).
            category_ids: of the labels, (C,).
            iou_type: ``'bbox'`` or ``'segm'``: whose scores to take.
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
        """From a JSON file of results in COCO's and LVIS's layout; there may be none.

        A box of negative size has no area. Masks are polygons, or run-length codes as numbers or packed.

        Args:
            path: a list of dictionaries with image_id, category_id, score, and bbox [x, y, w, h] or segmentation.
            ground_truth: whose images and categories these are.
            masks: read the masks; the boxes are theirs where a detection has none.

        Raises:
            FileNotFoundError: no such file.
            DetectionFileError: not such a list, an unknown image or category, a score or box that is not finite, no
                mask where masks are asked for, or one that is none of its image.
        """
        try:
            records = json.loads(Path(path).read_text(encoding='utf-8'))
        except ValueError as e:
            raise DetectionFileError(f'{path} is not a whole JSON file ({e}).') from None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise DetectionFileError(f'Expected {path} to be a list of dictionaries, one a detection.')
        needed = {'image_id', 'category_id', 'score', 'segmentation' if masks else 'bbox'}
        lacking = next((i for i, record in enumerate(records) if needed - record.keys()), None)
        if lacking is not None:
            missing = min(needed - records[lacking].keys())
            raise DetectionFileError(f'{path}: detection {lacking} has no {missing!r}.')
        size = dict(zip(ground_truth.image_ids.tolist(), ground_truth.sizes.tolist()))
        category_ids = set(ground_truth.category_ids.tolist())
        for key, fits, what in (
            ('image_id', lambda x: _is_number(x) and x in size, 'an image_id that the annotation file does not have'),
            (
                'category_id',
                lambda x: _is_number(x) and x in category_ids,
                'a category_id that the annotation file does not have',
            ),
            ('score', lambda x: _is_number(x) and math.isfinite(x), 'a score that is no finite number'),
            ('bbox', is_box, 'a bbox that is not four finite numbers [x, y, w, h]'),
        ):
            wrong = [i for i, record in enumerate(records) if key in record and not fits(record[key])]
            if wrong:
                shown = {key: value for key, value in records[wrong[0]].items() if key != 'segmentation'}
                raise DetectionFileError(
                    f'{path}: {len(wrong)} detections have {what}; the first is {wrong[0]}, {shown}.'
                )
        images = np.array([record['image_id'] for record in records], dtype=int)
        if masks:
            codes = packed_masks(
                [record['segmentation'] for record in records],
                [size[image_id] for image_id in images.tolist()],
                lambda i: f'{path}: the mask of detection {i}',
                DetectionFileError,
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
            masks=codes if masks else None,
        )

    def write(self, path: str | Path) -> None:
        """Write the file that :meth:`read` reads, and the evaluation servers of COCO and LVIS.

        Args:
            path: of a JSON file; its folder is made.
        """
        columns = dict(image_id=self.images, category_id=self.categories, score=self.scores, bbox=self.boxes)
        records = [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]
        for record, mask in zip(records, self.masks or ()):
            counts = mask['counts']
            counts = counts if isinstance(counts, str) else counts.decode()
            record['segmentation'] = dict(size=list(mask['size']), counts=counts)
        AtomicLocalBackend().put(json.dumps(records).encode(), path)

    def areas(self) -> np.ndarray:
        """Of the masks where there are any, else of the boxes, in pixels, (D,)."""
        if self.masks is None:
            return self.boxes[:, 2] * self.boxes[:, 3]
        starts = range(0, len(self.masks), MAX_MASKS)
        return np.concatenate([np.zeros(0), *(mask_utils.area(self.masks[i : i + MAX_MASKS]) for i in starts)])


def encode_masks(masks: np.ndarray) -> list[dict]:
    """Run-length codes of binary masks, (K, H, W)."""
    return mask_utils.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)) if len(masks) else []


def packed_masks(
    masks: Sequence[Any], sizes: Sequence[Sequence[int]], name: Callable[[int], str], error: type[Exception]
) -> list[Mapping]:
    """Masks as packed run-length codes, which pycocotools reads.

    Args:
        masks: K of them: lists of polygons, or run-length codes as numbers or packed.
        sizes: height and width of the image of each, (K, 2).
        name: what the message calls mask i.
        error: raised where a mask is none of its image.
    """
    invalid = find_invalid_mask(masks, sizes)
    if invalid:
        raise error(f'{name(invalid[0])} {invalid[1]}.')
    return _packed(masks, sizes, name, error)


def _packed(
    masks: Sequence[Any], sizes: Sequence[Sequence[int]], name: Callable[[int], str], error: type[Exception]
) -> list[Mapping]:
    """See :func:`packed_masks`; for masks without a fault."""
    packed = []
    for i, (mask, size) in enumerate(zip(masks, sizes)):
        if isinstance(mask, list):
            polygons = [polygon for polygon in mask if len(polygon) >= 6 and len(polygon) % 2 == 0]
            if not polygons:
                raise error(f'{name(i)} has no polygon of three points or more.')
            mask = mask_utils.merge(mask_utils.frPyObjects(polygons, *size))
        elif isinstance(mask['counts'], list):
            mask = mask_utils.frPyObjects(mask, *size)
        packed.append(mask)
    return packed


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _pairs(images: list[dict], field: str) -> np.ndarray:
    """Rows (image id, category id), (P, 2)."""
    pairs = [(image['id'], category_id) for image in images for category_id in image[field]]
    return np.array(pairs, dtype=int).reshape(-1, 2)
