"""Multi-label annotations from detection annotations: json files of COCO and LVIS, xml files of Pascal VOC."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .label_states import NEGATIVE, POSITIVE, STATES, UNKNOWN, ImageLabels
from .lvis_annotations import AnnotationFileError, category_ids, image_file_name, read_lvis_annotations

__all__ = ['read_image_ids', 'read_json_labels', 'read_voc_labels']


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
    # the coco_url of LVIS tells the folder; its file_name is that of COCO 2014 in some files
    names = [
        image_file_name(image) if federated else image.get('file_name') or image_file_name(image) for image in images
    ]
    return ImageLabels(names, tuple(ids), states)


def read_voc_labels(
    image_ids: Sequence[str], folder: Path, classes: Sequence[str] | None = None, difficult_as: str = 'positive'
) -> ImageLabels:
    """Read the classes of each image from the xml files of Pascal VOC.

    Args:
        image_ids: Names of the images, without suffix.
        folder: Folder of the files ``<id>.xml``.
        classes: Names of the classes to keep, in label order. Default: all that occur, in alphabetical order.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: state of a class with difficult objects only.
    """
    missing = [name for name in image_ids if not (folder / f'{name}.xml').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(image_ids)} annotation files are not in {folder.absolute()}, {missing[0]}.xml '
            'first.'
        )
    objects = []  # (image, class name, whether difficult)
    for i, name in enumerate(image_ids):
        try:
            for item in ElementTree.parse(folder / f'{name}.xml').getroot().findall('object'):
                objects.append((i, item.findtext('name').strip(), bool(int(item.findtext('difficult') or 0))))
        except (ElementTree.ParseError, AttributeError, ValueError) as error:
            raise AnnotationFileError(f'{folder / name}.xml is not a Pascal VOC annotation ({error}).') from None
    classes = tuple(sorted({name for _, name, _ in objects}) if classes is None else classes)
    label = {name: index for index, name in enumerate(classes)}
    states = np.full((len(image_ids), len(classes)), NEGATIVE, dtype=np.int8)
    for difficult, state in ((True, STATES[difficult_as]), (False, POSITIVE)):
        pairs = [(i, label[name]) for i, name, is_difficult in objects if name in label and is_difficult == difficult]
        _assign(states, pairs, state)
    return ImageLabels([f'{name}.jpg' for name in image_ids], classes, states)


def read_image_ids(path: Path) -> list[str]:
    """Read the image ids of a text file, the first word of each line, as in VOC's ImageSets."""
    try:
        ids = [line.split()[0] for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise AnnotationFileError(f'{path} is not a text file with one image id per line.') from None
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated or not ids:
        raise AnnotationFileError(f'{path} ' + (f'lists {repeated[0]} more than once.' if repeated else 'is empty.'))
    return ids


def _assign(states: np.ndarray, pairs: list[tuple[int, int]], state: int) -> None:
    """Set the given (image, class) pairs to ``state``."""
    if pairs:
        rows, columns = np.array(pairs).T
        states[rows, columns] = state
