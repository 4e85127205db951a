"""Reader of LVIS annotation files that checks their content."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlparse

from mmengine.fileio import get_local_path

from ltmm.utils.errors import InputError, did_you_mean

from .lvis_masks import find_invalid_mask

__all__ = ['RENAMED', 'AnnotationFileError', 'category_ids', 'image_file_name', 'is_box', 'read_lvis_annotations']

FIELDS = dict(
    images=('id', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id'),
    categories=('id', 'name'),
)
# category names in mmdet: in the files of LVIS
RENAMED = {'speaker_(stereo_equipment)': 'speaker_(stero_equipment)'}
FEDERATED_FIELDS = ('neg_category_ids', 'not_exhaustive_category_ids')


class AnnotationFileError(InputError):
    """An annotation file that cannot be read, or contradicts itself."""


def read_lvis_annotations(
    ann_file: str, backend_args: dict | None = None, masks: bool = False, boxes: bool = True
) -> dict:
    """Read and check an annotation file in the format of LVIS v0.5 or v1.

    Args:
        ann_file: Path of the json file.
        backend_args: Arguments of MMEngine's file backend, for remote files.
        masks: Require a valid ``segmentation`` of each annotation: polygons or run-length code.
        boxes: Require ``bbox`` and ``area`` of each annotation.

    Raises:
        FileNotFoundError: The file does not exist.
        AnnotationFileError: The file is damaged or inconsistent.
    """
    try:
        with get_local_path(ann_file, backend_args=backend_args) as path, open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f'Annotation file {ann_file} does not exist. Download LVIS from https://www.lvisdataset.org/dataset, or set'
            ' LTMM_DATA_ROOT, or `data_root` and `ann_file` of dataloaders and evaluators by --cfg-options.'
        ) from None
    except ValueError as e:  # JSONDecodeError, UnicodeDecodeError
        raise AnnotationFileError(f'{ann_file} is not a complete JSON file ({e}). Download it again.') from None
    _validate(content, ann_file, masks, boxes)
    return content


def image_file_name(image: dict) -> str:
    """Return the path of an image relative to the image folder, from its ``coco_url`` or else its ``file_name``."""
    return urlparse(image['coco_url']).path.lstrip('/') if image.get('coco_url') else image['file_name']


def category_ids(content: Mapping, ann_file: str, classes: Sequence[str] | None = None) -> dict[str, int]:
    """Return the category id of each class, in label order.

    Args:
        content: Content of the annotation file.
        ann_file: Path of the annotation file, for error messages.
        classes: Category names in label order, as in the file but for ``RENAMED``. Default: all categories, by id.
    """
    by_name = {cat['name']: cat['id'] for cat in sorted(content['categories'], key=lambda cat: cat['id'])}
    if classes is None:
        return by_name
    names = list(by_name)
    classes = [name if name in by_name else RENAMED.get(name, name) for name in classes]
    unknown = [name for name in classes if name not in by_name]
    if unknown or len(set(classes)) < len(classes):
        first = unknown[0] if unknown else next(name for name in classes if classes.count(name) > 1)
        shown = ', '.join(names[:5]) + ', ...' * (len(names) > 5)
        raise AnnotationFileError(
            f'Expected {len(classes)} distinct categories of {ann_file} as classes, but got {first!r}'
            f'{"" if unknown else " twice"}.{did_you_mean(first, names) if unknown else ""} The file has {len(names)} '
            f'categories: {shown}; they are used in the order of their ids if `metainfo` has no classes.'
        )
    return {name: by_name[name] for name in classes}


def is_box(value: Any) -> bool:
    """Whether ``value`` holds four finite numbers."""
    try:
        return len(value) == 4 and math.isfinite(sum(value))
    except TypeError:  # not a list, or not of numbers
        return False


def _validate(content: Any, ann_file: str, masks: bool, boxes: bool) -> None:
    """Raise an error that names the number and the first of the invalid records."""

    def refuse(records: Iterable[Mapping], problem: str) -> None:
        records = list(records)
        if records:
            first = str({key: value for key, value in records[0].items() if key != 'segmentation'})
            raise AnnotationFileError(f'{ann_file} has {len(records)} {problem}; the first is {first[:200]}.')

    def refuse_duplicates(values: Iterable, kind: str) -> None:
        repeated = [value for value, count in Counter(values).items() if count > 1]
        if repeated:
            raise AnnotationFileError(f'{ann_file} has {len(repeated)} duplicate {kind}, {repeated[0]!r} first.')

    def require(part: str, *fields: str) -> None:
        for field in fields:
            refuse((record for record in content[part] if field not in record), f'{part} without the field {field!r}')

    for part, fields in FIELDS.items():
        records = content.get(part) if isinstance(content, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise AnnotationFileError(f'{ann_file}: `{part}` is missing or not a list of dictionaries.')
        require(part, *fields)
        refuse_duplicates((record['id'] for record in records), f'ids of {part}')
    images, annotations, categories = (content[part] for part in FIELDS)
    if not categories:
        raise AnnotationFileError(f'{ann_file} has no categories.')
    refuse_duplicates((cat['name'] for cat in categories), 'names of categories')
    refuse(
        (image for image in images if not (image.get('coco_url') or image.get('file_name'))),
        "images without the field 'coco_url' or 'file_name'",
    )
    for field, part in (('image_id', 'images'), ('category_id', 'categories')):
        known = {record['id'] for record in content[part]}
        refuse(
            (ann for ann in annotations if ann[field] not in known), f'annotations whose {field!r} is not in `{part}`'
        )
    known = {cat['id'] for cat in categories}
    for field in FEDERATED_FIELDS:
        lists = [(image, image.get(field, [])) for image in images]
        refuse((image for image, ids in lists if not _is_int_list(ids)), f'images whose {field!r} is not a list of ids')
        refuse(
            (image for image, ids in lists if not known.issuperset(ids)),
            f'images whose {field!r} lists an id that is not in `categories`',
        )
    if boxes:
        require('annotations', 'bbox', 'area')
        refuse(
            (ann for ann in annotations if not is_box(ann['bbox'])),
            'annotations whose bbox is not four finite numbers [x, y, w, h]',
        )
        refuse(
            (a for a in annotations if not isinstance(a['area'], (int, float)) or not 0 <= a['area'] < math.inf),
            'annotations whose area is not a finite number >= 0',
        )
    if masks:
        refuse(
            (ann for ann in annotations if not ann.get('segmentation')),
            "annotations without the field 'segmentation' (remove the mask head to train on boxes)",
        )
        refuse(
            (image for image in images if not _is_int_list((image['height'], image['width']), low=1)),
            'images whose height or width is not a positive integer',
        )
        sizes = {image['id']: [image['height'], image['width']] for image in images}
        invalid = find_invalid_mask(
            [ann['segmentation'] for ann in annotations], [sizes[ann['image_id']] for ann in annotations]
        )
        if invalid:
            raise AnnotationFileError(
                f'{ann_file}: the mask of annotation {annotations[invalid[0]]["id"]} {invalid[1]}.'
            )


def _is_int_list(values: Any, low: float = -math.inf) -> bool:
    """Whether ``values`` is a list of integers >= ``low``."""
    return isinstance(values, (list, tuple)) and all(isinstance(value, int) and value >= low for value in values)
