"""LVIS annotation files, read with every mistake in them named."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlparse

from mmengine.fileio import get_local_path

from ltmm.utils.errors import InputError

from .lvis_masks import first_fault

__all__ = ['AnnotationFileError', 'category_ids', 'image_file_name', 'is_box', 'read_lvis_annotations']

FIELDS = dict(
    images=('id', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id'),
    categories=('id', 'name'),
)
BOX_FIELDS = ('bbox', 'area')
FEDERATED_FIELDS = ('neg_category_ids', 'not_exhaustive_category_ids')


class AnnotationFileError(InputError):
    """An annotation file that cannot be read, or contradicts itself."""


def read_lvis_annotations(
    ann_file: str,
    backend_args: dict | None = None,
    federated: bool = False,
    masks: bool = False,
    boxes: bool = True,
) -> dict:
    """The content of an LVIS (v0.5, v1, or of the same layout) annotation file.

    Args:
        ann_file: path of the json file.
        backend_args: of MMEngine's file backend, for files that are not on a local disk.
        federated: the images must say which classes were looked for (``neg_category_ids``) and which were not
            annotated exhaustively (``not_exhaustive_category_ids``), as LVIS's evaluation needs.
        masks: the annotations must have a ``segmentation``, polygons or run-length codes of their images' sizes.
        boxes: the annotations must have a ``bbox`` and an ``area``.

    Raises:
        FileNotFoundError: no such file; says where LVIS comes from.
        AnnotationFileError: not JSON (a truncated file, say), missing parts or fields, no categories, duplicated ids,
            annotations or lists of images with an unknown image or category, boxes, areas or lists of category ids that
            are none, or masks that are none of their image. Names the file, the first culprit and, but for masks, how
            many there are.
    """
    try:
        with get_local_path(ann_file, backend_args=backend_args) as path, open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f'Annotation file {ann_file} does not exist. LVIS is found at https://www.lvisdataset.org/dataset. Say '
            'where your data are by LTMM_DATA_ROOT=FOLDER in the environment, or by --cfg-options '
            'train_dataloader.dataset.data_root=FOLDER (likewise val_dataloader, test_dataloader, and '
            'val_evaluator.ann_file, test_evaluator.ann_file).'
        ) from None
    except ValueError as e:  # JSONDecodeError, UnicodeDecodeError
        raise AnnotationFileError(f'{ann_file} is not a whole JSON file ({e}). Fetch it again.') from None
    _check(content, ann_file, federated, masks, boxes)
    return content


def image_file_name(image: dict) -> str:
    """Path of an image under the folder of the images: that of its ``coco_url``, or else its ``file_name``."""
    return urlparse(image['coco_url']).path.lstrip('/') if image.get('coco_url') else image['file_name']


def category_ids(content: Mapping, ann_file: str, classes: Sequence[str] | None = None) -> dict[str, int]:
    """Category id of each class, in label order.

    Args:
        content: of the annotation file.
        ann_file: its path, for the message.
        classes: names of the categories, in label order; all categories by id when left out. Where there are as many
            as categories, a name that the file does not have stands for the category in its place (mmdet spells one
            of LVIS's names better).

    Raises:
        AnnotationFileError: ``classes`` names what is no category of the file, or one twice.
    """
    by_name = {cat['name']: cat['id'] for cat in sorted(content['categories'], key=lambda cat: cat['id'])}
    if classes is None:
        return by_name
    names = list(by_name)
    if len(classes) == len(names):
        classes = [name if name in by_name else names[label] for label, name in enumerate(classes)]
    unknown = [name for name in classes if name not in by_name]
    if unknown or len(set(classes)) < len(classes):
        first = unknown[0] if unknown else next(name for name in classes if classes.count(name) > 1)
        raise AnnotationFileError(
            f'Expected the {len(classes)} classes to be categories of {ann_file}, each once, but {first!r} is not. '
            f'The file has {len(names)} categories: {", ".join(names[:5])}, ... . '
            'ltmm.LVISDataset takes the names from the file when `metainfo` names no classes.'
        )
    return {name: by_name[name] for name in classes}


def is_box(value: Any) -> bool:
    """Whether it is four finite numbers."""
    try:
        return len(value) == 4 and math.isfinite(sum(value))
    except TypeError:  # no list, or not of numbers
        return False


def _check(content: dict, ann_file: str, federated: bool, masks: bool, boxes: bool) -> None:
    for part, fields in dict(FIELDS, annotations=FIELDS['annotations'] + BOX_FIELDS * boxes).items():
        records = content.get(part) if isinstance(content, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise AnnotationFileError(
                f'Expected {ann_file} to be a dictionary with lists of images, annotations and categories, '
                f'but `{part}` is missing or no list of dictionaries.'
            )
        for field in fields:
            _refuse(
                (record for record in records if field not in record), f'{part} without the field {field!r}', ann_file
            )
        _refuse_duplicates((record['id'] for record in records), f'ids of {part}', ann_file)
    images, annotations, categories = (content[part] for part in FIELDS)
    if not categories:
        raise AnnotationFileError(f'{ann_file} has no categories: `categories`, the list of its classes, is empty.')
    _refuse_duplicates((cat['name'] for cat in categories), 'names of categories', ann_file)
    _refuse(
        (image for image in images if not (image.get('coco_url') or image.get('file_name'))),
        "images without the field 'coco_url' or 'file_name'",
        ann_file,
    )
    if federated:
        for field in FEDERATED_FIELDS:
            _refuse(
                (image for image in images if field not in image),
                f"images without the field {field!r}, which LVIS's evaluation needs (mmdet.CocoMetric does not)",
                ann_file,
            )
    if masks:
        _refuse(
            (ann for ann in annotations if not ann.get('segmentation')),
            "annotations without the field 'segmentation', which masks need (for boxes alone, leave the mask head out)",
            ann_file,
        )
    for field, part, records in (('image_id', 'images', images), ('category_id', 'categories', categories)):
        known = {record['id'] for record in records}
        _refuse(
            (ann for ann in annotations if ann[field] not in known),
            f'annotations whose {field!r} is the id of none of the {part}',
            ann_file,
        )
    if boxes:
        _check_boxes(annotations, ann_file)
    for field in FEDERATED_FIELDS:
        _refuse(
            (image for image in images if not _are_whole(image.get(field, []))),
            f'images whose {field!r} is no list of category ids',
            ann_file,
        )
        _refuse(
            (image for image in images if not known.issuperset(image.get(field, []))),
            f'images whose {field!r} lists the id of none of the categories',
            ann_file,
        )
    if masks:
        _check_masks(images, annotations, ann_file)


def _check_boxes(annotations: list[dict], ann_file: str) -> None:
    _refuse(
        (ann for ann in annotations if not is_box(ann['bbox'])),
        'annotations whose bbox is not four finite numbers [x, y, w, h]',
        ann_file,
    )
    _refuse(
        (ann for ann in annotations if not isinstance(ann['area'], (int, float)) or not 0 <= ann['area'] < math.inf),
        'annotations whose area is no finite number of at least 0',
        ann_file,
    )


def _check_masks(images: list[dict], annotations: list[dict], ann_file: str) -> None:
    _refuse(
        (image for image in images if not _are_whole((image['height'], image['width']), low=1)),
        'images whose height or width is no positive whole number',
        ann_file,
    )
    sizes = {image['id']: [image['height'], image['width']] for image in images}
    fault = first_fault([ann['segmentation'] for ann in annotations], [sizes[ann['image_id']] for ann in annotations])
    if fault:
        i, what = fault
        raise AnnotationFileError(f'{ann_file}: the mask of annotation {annotations[i]["id"]} {what}.')


def _refuse(culprits: Iterable[Mapping], what: str, ann_file: str) -> None:
    """Raise where there are culprits."""
    culprits = list(culprits)
    if culprits:
        shown = {key: value for key, value in culprits[0].items() if key != 'segmentation'}
        raise AnnotationFileError(f'{ann_file} has {len(culprits)} {what}; the first is {_cut(str(shown))}.')


def _refuse_duplicates(values: Iterable, what: str, ann_file: str) -> None:
    """Raise where a value occurs twice."""
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise AnnotationFileError(f'{ann_file} has {len(twice)} {what} that occur more than once, {twice[0]!r} first.')


def _are_whole(values: Any, low: float = -math.inf) -> bool:
    """Whether they are a list of whole numbers of at least ``low``."""
    return isinstance(values, (list, tuple)) and all(isinstance(value, int) and value >= low for value in values)


def _cut(text: str, length: int = 200) -> str:
    return text if len(text) <= length else text[:length] + ' ...'
