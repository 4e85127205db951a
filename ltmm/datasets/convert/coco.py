"""Annotations in the format of COCO."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ltmm.datasets.labels.detection_labels import read_json_labels
from ltmm.datasets.labels.lvis_annotations import (
    AnnotationFileError,
    category_ids,
    image_file_name,
    read_lvis_annotations,
)
from ltmm.datasets.labels.lvis_masks import find_invalid_mask

from .files import new_file
from .records import Annotations, ImageRecord, ObjectRecord, relative_name

__all__ = ['polygon_area', 'read_coco', 'write_coco']


def read_coco(source: Path, images: Path | None, split: str | None, classes: Sequence[str] | None) -> Annotations:
    """Read a json file; the images are in ``images``, by default in the folder of the file."""
    content = read_lvis_annotations(str(source))
    ids = category_ids(content, str(source), classes)
    label = {cat_id: index for index, cat_id in enumerate(ids.values())}
    records = {
        image['id']: ImageRecord(relative_name(image_file_name(image), source), (image['width'], image['height']))
        for image in content['images']
    }
    annotations = [annotation for annotation in content['annotations'] if annotation['category_id'] in label]
    masked = [annotation for annotation in annotations if annotation.get('segmentation')]
    sizes = [records[annotation['image_id']].size[::-1] for annotation in masked]
    if invalid := find_invalid_mask([annotation['segmentation'] for annotation in masked], sizes):
        raise AnnotationFileError(f'{source}: the mask of annotation {masked[invalid[0]]["id"]} {invalid[1]}.')
    for annotation in annotations:
        is_ignored = bool(annotation.get('iscrowd') or annotation.get('ignore'))
        record = ObjectRecord(
            label[annotation['category_id']],
            tuple(map(float, annotation['bbox'])),
            annotation.get('segmentation') or None,
            is_ignored,
        )
        records[annotation['image_id']].objects.append(record)
    if any('neg_category_ids' in image for image in content['images']):  # LVIS: classes may be unknown
        states = read_json_labels(str(source), tuple(ids), 'unknown').states
        for record, row in zip(records.values(), states):
            record.states = row
    return Annotations(tuple(ids), list(records.values()), images or source.parent, 'boxes')


def write_coco(annotations: Annotations, out: Path, copy: bool) -> list[str]:
    """Write a json file; images stay where they are. Return what is lost."""
    annotations.check_boxes('coco')
    annotations.load_sizes()
    content = dict(
        images=[
            dict(id=i, file_name=image.name, width=image.size[0], height=image.size[1])
            for i, image in enumerate(annotations.images, 1)
        ],
        annotations=[],
        categories=[dict(id=i, name=name) for i, name in enumerate(annotations.classes, 1)],
    )
    for i, image in enumerate(annotations.images, 1):
        for item in image.objects:
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=i,
                    category_id=item.label + 1,
                    bbox=[round(value, 4) for value in item.box],
                    area=round(_area(item), 4),
                    iscrowd=int(item.is_ignored),
                    **({} if item.mask is None else dict(segmentation=item.mask)),
                )
            )
    with new_file(out, '.json') as file:
        json.dump(content, file, ensure_ascii=False)
    return []


def polygon_area(polygon: Sequence[float]) -> float:
    """Return the area of a polygon ``[x1, y1, x2, y2, ...]``."""
    x, y = np.reshape(polygon, (-1, 2)).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _area(item: ObjectRecord) -> float:
    if isinstance(item.mask, list):
        return sum(map(polygon_area, item.mask))
    if item.mask is not None and isinstance(item.mask['counts'], list):
        return float(sum(item.mask['counts'][1::2]))
    if item.mask is not None:
        from pycocotools import mask  # in the extra det

        return float(mask.area(item.mask))
    return item.box[2] * item.box[3]
