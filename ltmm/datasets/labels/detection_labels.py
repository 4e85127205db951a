"""Multi-label annotations from detection annotations: json files of COCO and LVIS, xml files of Pascal VOC."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .label_states import NEGATIVE, POSITIVE, STATES, UNKNOWN, ImageLabels
from .lvis_annotations import AnnotationFileError, category_ids, image_file_name, read_lvis_annotations
from .voc_annotations import find_images, read_voc_annotations

__all__ = ['read_json_labels', 'read_voc_labels']


def read_json_labels(
    ann_file: str,
    classes: Sequence[str] | None = None,
    difficult_as: str = 'positive',
    unlisted_as: str | None = None,
    image_ids: Sequence[int] | None = None,
) -> ImageLabels:
    """Read the classes of each image from a COCO or LVIS annotation file.

    A class is positive if the image has an object of it. In a federated file (LVIS), it is negative if the image lists
    it in ``neg_category_ids``; otherwise it was not annotated, see ``unlisted_as``. In other files, all other classes
    are negative.

    Args:
        ann_file: Path of the json file. Labels follow the order of the category ids, which may have gaps.
        classes: Names of the classes to keep, in label order. Default: all.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: state of a class that has only crowd regions.
        unlisted_as: ``'unknown'`` (default) or ``'negative'``: state of the classes that a federated file neither
            annotates nor lists.
        image_ids: Ids of the images to keep, in this order. Default: all.
    """
    content = read_lvis_annotations(ann_file, boxes=False)
    ids = category_ids(content, ann_file, classes)
    label = {cat_id: index for index, cat_id in enumerate(ids.values())}
    images = content['images']
    if image_ids is not None:
        by_id = {image['id']: image for image in images}
        missing = [i for i in image_ids if i not in by_id]
        if missing:
            raise AnnotationFileError(
                f'{ann_file} lacks {len(missing)} of {len(image_ids)} images, {missing[0]} first.'
            )
        images = [by_id[i] for i in image_ids]
    row = {image['id']: index for index, image in enumerate(images)}

    unlisted = [image['id'] for image in images if 'neg_category_ids' not in image]
    federated = len(unlisted) < len(images)
    if federated and unlisted:
        raise AnnotationFileError(
            f'{ann_file}: {len(unlisted)} of {len(images)} images lack the field neg_category_ids, {unlisted[0]} first.'
        )
    if unlisted_as is not None and not federated:
        raise AnnotationFileError(f'`unlisted_as` is for federated files, but {ann_file} has no neg_category_ids.')
    default = UNKNOWN if federated and unlisted_as != 'negative' else NEGATIVE
    states = np.full((len(images), len(label)), default, dtype=np.int8)
    if federated:
        negatives = [(row[image['id']], cat) for image in images for cat in image['neg_category_ids']]
        _assign(states, [(i, label[cat]) for i, cat in negatives if cat in label], NEGATIVE)
    pairs: tuple[list, list] = ([], [])  # of objects, of crowd regions
    for ann in content['annotations']:
        if ann['image_id'] in row and ann['category_id'] in label:
            pairs[bool(ann.get('iscrowd'))].append((row[ann['image_id']], label[ann['category_id']]))
    _assign(states, pairs[1], STATES[difficult_as])
    _assign(states, pairs[0], POSITIVE)
    return ImageLabels(list(map(image_file_name, images)), tuple(ids), states)


def read_voc_labels(
    image_ids: Sequence[str],
    folder: Path,
    images: Path,
    classes: Sequence[str] | None = None,
    difficult_as: str = 'positive',
) -> ImageLabels:
    """Read the classes of each image from the xml files of Pascal VOC.

    Args:
        image_ids: Names of the images, without suffix.
        folder: Folder of the files ``<id>.xml``.
        images: Folder of the images ``<id>.jpg``, or of any other suffix.
        classes: Names of the classes to keep, in label order. Default: all that occur, in alphabetical order.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: state of a class with difficult objects only.
    """
    annotations = read_voc_annotations(image_ids, folder)
    objects = [(i, item.name, item.is_difficult) for i, image in enumerate(annotations) for item in image.objects]
    classes = tuple(sorted({name for _, name, _ in objects}) if classes is None else classes)
    label = {name: index for index, name in enumerate(classes)}
    states = np.full((len(image_ids), len(classes)), NEGATIVE, dtype=np.int8)
    for difficult, state in ((True, STATES[difficult_as]), (False, POSITIVE)):
        pairs = [(i, label[name]) for i, name, is_difficult in objects if name in label and is_difficult == difficult]
        _assign(states, pairs, state)
    return ImageLabels(find_images(image_ids, images), classes, states)


def _assign(states: np.ndarray, pairs: list[tuple[int, int]], state: int) -> None:
    """Set the given (image, class) pairs to ``state``."""
    if pairs:
        rows, columns = np.array(pairs).T
        states[rows, columns] = state
