"""Reader of LVIS annotation files that checks their content."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ltmm.utils.data_files import read_json
from ltmm.utils.errors import InputError, did_you_mean

from .lvis_masks import find_invalid_mask

__all__ = [
    'RENAMED',
    'AnnotationFileError',
    'category_ids',
    'check_records',
    'image_file_name',
    'is_box',
    'read_lvis_annotations',
    'why_dropped',
]

FIELDS = dict(
    images=('id', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id'),
    categories=('id', 'name'),
)
# category names in mmdet: in the files of LVIS
RENAMED = {'speaker_(stereo_equipment)': 'speaker_(stero_equipment)'}
FEDERATED_FIELDS = ('neg_category_ids', 'not_exhaustive_category_ids')
MAX_ID = 2**63 - 1
MAX_SIZE = 10**6  # pixels per side
MAX_SHOWN = 80  # characters of a field in messages


class AnnotationFileError(InputError):
    """An annotation file that cannot be read, or contradicts itself."""


def read_lvis_annotations(
    ann_file: str, backend_args: dict | None = None, masks: bool = False, boxes: bool = True
) -> dict:
    """Read and check an annotation file in the format of COCO, LVIS v0.5 or LVIS v1.

    An object without mask whose ``area`` is 0 or missing gets that of its box.

    Args:
        ann_file: Path of the json file.
        backend_args: Arguments of MMEngine's file backend, for remote files.
        masks: Require a valid ``segmentation`` of each annotation: polygons or run-length code.
        boxes: Require ``bbox`` of each annotation, ``area`` of those with a mask, and the size of each image.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is damaged or inconsistent.
    """
    try:
        content = read_json(ann_file, backend_args)
    except (FileNotFoundError, NotADirectoryError):
        is_lvis = re.fullmatch(r'lvis_v(0\.5|1)_\w+\.json', Path(ann_file).name)
        source = ' LVIS is found at https://www.lvisdataset.org/dataset.' if is_lvis else ''
        raise FileNotFoundError(
            f'Annotation file {ann_file} does not exist. In a config, it is given by LTMM_DATA_ROOT, or by `data_root` '
            f'and `ann_file` of dataloaders and evaluators.{source}'
        ) from None
    check_records(content, ann_file, masks, boxes)
    return content


def image_file_name(image: dict) -> str:
    """Return the path of an image relative to the image folder: its ``file_name``; in LVIS, the path in ``coco_url``.

    The images of LVIS are federated (``neg_category_ids``); their ``file_name`` is missing or that of COCO 2014.
    """
    if image.get('coco_url') and ('neg_category_ids' in image or not image.get('file_name')):
        try:
            return urlparse(image['coco_url']).path.lstrip('/')
        except ValueError:
            raise AnnotationFileError(f'Image {image["id"]} has the invalid coco_url {image["coco_url"]!r}.') from None
    return image['file_name']


def why_dropped(annotation: Mapping, image: Mapping) -> str | None:
    """Return why mmdet does not train on an object, or None."""
    x, y, w, h = annotation['bbox']
    if annotation['area'] <= 0:
        return 'of area 0'
    if w < 1 or h < 1:
        return 'less than a pixel wide or high'
    if min(x + w, image['width']) <= max(x, 0) or min(y + h, image['height']) <= max(y, 0):
        return 'outside their image'
    return None


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
    except (TypeError, OverflowError):  # not a list, or not of numbers; an integer of hundreds of digits
        return False


def check_records(content: Any, ann_file: str, masks: bool = False, boxes: bool = True) -> None:
    """Raise an error that names the number and the first of the invalid records.

    Args:
        content: Content of the annotation file.
        ann_file: Path of the annotation file, for error messages.
        masks, boxes: See :func:`read_lvis_annotations`.
    """

    def refuse(records: Iterable[Mapping], problem: str) -> None:
        records = list(records)
        if records:
            short = {key: _shortened(value) for key, value in records[0].items() if key != 'segmentation'}
            raise AnnotationFileError(f'{ann_file} has {len(records)} {problem}; the first is {short}.')

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
        refuse((record for record in records if not _is_id(record['id'])), f'{part} whose id is not a number or a text')
        refuse_duplicates((record['id'] for record in records), f'ids of {part}')
    images, annotations, categories = (content[part] for part in FIELDS)
    if not categories:
        raise AnnotationFileError(f'{ann_file} has no categories.')
    refuse((cat for cat in categories if not isinstance(cat['name'], str)), 'categories whose name is not a text')
    refuse_duplicates((cat['name'] for cat in categories), 'names of categories')
    refuse(
        (image for image in images if not isinstance(image.get('coco_url') or image.get('file_name'), str)),
        "images without the field 'coco_url' or 'file_name'",
    )
    for field, part in (('image_id', 'images'), ('category_id', 'categories')):
        known = {record['id'] for record in content[part]}
        refuse(
            (ann for ann in annotations if not _is_id(ann[field]) or ann[field] not in known),
            f'annotations whose {field!r} is not in `{part}`',
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
        require('annotations', 'bbox')
        refuse(
            (ann for ann in annotations if not is_box(ann['bbox'])),
            'annotations whose bbox is not four finite numbers [x, y, w, h]',
        )
        for ann in annotations:
            if not ann.get('segmentation') and not ann.get('area'):
                ann['area'] = max(ann['bbox'][2], 0) * max(ann['bbox'][3], 0)
        require('annotations', 'area')
        refuse(
            (a for a in annotations if not isinstance(a['area'], (int, float)) or not 0 <= a['area'] <= MAX_ID),
            'annotations whose area is not a finite number >= 0',
        )
    if boxes or masks:
        kind, numbers = ('an integer', int) if masks else ('a number', (int, float))
        refuse(
            (image for image in images if not all(_is_side(image[key], numbers) for key in ('height', 'width'))),
            f'images whose height or width is not {kind} from 1 to {MAX_SIZE}',
        )
    if masks:
        refuse(
            (ann for ann in annotations if not ann.get('segmentation')),
            "annotations without the field 'segmentation' (remove the mask head to train on boxes)",
        )
        sizes = {image['id']: [image['height'], image['width']] for image in images}
        invalid = find_invalid_mask(
            [ann['segmentation'] for ann in annotations], [sizes[ann['image_id']] for ann in annotations]
        )
        if invalid:
            raise AnnotationFileError(
                f'{ann_file}: the mask of annotation {annotations[invalid[0]]["id"]} {invalid[1]}.'
            )


def _shortened(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= MAX_SHOWN else f'{text[:MAX_SHOWN]}...'


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and abs(value) <= MAX_ID)


def _is_side(value: Any, numbers: type | tuple[type, ...]) -> bool:
    return isinstance(value, numbers) and 1 <= value <= MAX_SIZE


def _is_int_list(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, int) for value in values)
