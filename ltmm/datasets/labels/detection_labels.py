"""Labels of images read from detection annotations: COCO's and LVIS's json, VOC's xml."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltmm.datasets.multi_label import ImageLabels

from .label_states import NEGATIVE, POSITIVE, STATES, UNKNOWN
from .lvis_annotations import AnnotationFileError, category_ids, image_file_name, read_lvis_annotations

__all__ = ['check_option', 'read_image_ids', 'read_json_labels', 'read_voc_labels']


def check_option(name: str, value: Any, allowed: Sequence) -> None:
    """Refuse a value that is not one of ``allowed``.

    Raises:
        ValueError: it is none.
    """
    if value not in allowed:
        raise ValueError(f'Expected `{name}` to be one of {list(allowed)}, but got {value!r}.')


def read_json_labels(
    ann_file: str,
    classes: Sequence[str] | None = None,
    difficult_as: str = 'positive',
    unlisted_as: str | None = None,
    image_ids: Sequence[int] | None = None,
) -> ImageLabels:
    """Labels of the images of an annotation file in the layout of COCO or LVIS.

    A class is positive where an image has an object of it. In a federated file, as LVIS's are, it is negative where
    the image lists it in ``neg_category_ids``, and else nobody has looked for it: see ``unlisted_as``. In any other
    file the classes without an object are negative.

    Args:
        ann_file: the json file. Its category ids may have gaps; labels are in the order of the ids.
        classes: names of the classes to keep, in label order; all when left out.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``, a class that is only in a crowd region.
        unlisted_as: ``'unknown'`` or ``'negative'``, a class of a federated file that an image neither holds nor lists;
            unknown when left out.
        image_ids: ids of the images to keep, in that order; all when left out.

    Raises:
        AnnotationFileError: a broken file, classes or images that it does not have, or ``unlisted_as`` for a file that
            is not federated.
    """
    content = read_lvis_annotations(ann_file, boxes=False)
    ids = category_ids(content, ann_file, classes)
    label = {cat_id: index for index, cat_id in enumerate(ids.values())}
    images = content['images']
    if image_ids is not None:
        by_id = {image['id']: image for image in images}
        unknown = [i for i in image_ids if i not in by_id]
        if unknown:
            raise AnnotationFileError(
                f'{ann_file} has not {len(unknown)} of the {len(image_ids)} images, {unknown[0]} first.'
            )
        images = [by_id[i] for i in image_ids]
    row = {image['id']: index for index, image in enumerate(images)}

    unlisting = [image['id'] for image in images if 'neg_category_ids' not in image]
    federated = len(unlisting) < len(images)
    if federated and unlisting:
        raise AnnotationFileError(
            f'{ann_file}: {len(images) - len(unlisting)} images have the field neg_category_ids, but {len(unlisting)} '
            f'have not, {unlisting[0]} first: what is not annotated there could be negative or unknown.'
        )
    if unlisted_as is not None and not federated:
        raise AnnotationFileError(
            f'Expected `unlisted_as` to go with a file whose images have the field neg_category_ids, but those of '
            f'{ann_file} have not: what is not annotated there is negative. Leave `unlisted_as` out.'
        )
    start = UNKNOWN if federated and unlisted_as != 'negative' else NEGATIVE
    states = np.full((len(images), len(label)), start, dtype=np.int8)
    if federated:
        negatives = [(row[image['id']], cat) for image in images for cat in image['neg_category_ids']]
        _set(states, [(i, label[cat]) for i, cat in negatives if cat in label], NEGATIVE)
    pairs: tuple[list, list] = ([], [])  # of objects, of crowd regions
    for ann in content['annotations']:
        if ann['image_id'] in row and ann['category_id'] in label:
            pairs[bool(ann.get('iscrowd'))].append((row[ann['image_id']], label[ann['category_id']]))
    _set(states, pairs[1], STATES[difficult_as])
    _set(states, pairs[0], POSITIVE)
    return ImageLabels([_image_name(image, federated) for image in images], tuple(ids), states)


def read_voc_labels(
    image_ids: Sequence[str], folder: Path, classes: Sequence[str] | None = None, difficult_as: str = 'positive'
) -> ImageLabels:
    """Labels of images with a file ``<id>.xml`` each, as Pascal VOC has it.

    Args:
        image_ids: names of the images, without suffix.
        folder: of the xml files.
        classes: names of the classes to keep, in label order; all that occur, in alphabetical order, when left out.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``, a class that only difficult objects show.

    Raises:
        FileNotFoundError: an xml file is missing; says how many are.
        AnnotationFileError: a file that is no such xml.
    """
    objects = []  # (image, class name, whether difficult)
    missing = [name for name in image_ids if not (folder / f'{name}.xml').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(image_ids)} annotation files are not in {folder.absolute()}, '
            f'{missing[0]}.xml first.'
        )
    for i, name in enumerate(image_ids):
        try:
            for item in ElementTree.parse(folder / f'{name}.xml').getroot().findall('object'):
                objects.append((i, item.findtext('name').strip(), bool(int(item.findtext('difficult') or 0))))
        except (ElementTree.ParseError, AttributeError, ValueError) as error:
            raise AnnotationFileError(f'{folder / name}.xml is no annotation of Pascal VOC ({error}).') from None
    classes = tuple(sorted({name for _, name, _ in objects}) if classes is None else classes)
    label = {name: index for index, name in enumerate(classes)}
    states = np.full((len(image_ids), len(classes)), NEGATIVE, dtype=np.int8)
    pairs: tuple[list, list] = ([], [])  # of plain objects, of difficult ones
    for i, name, is_difficult in objects:
        if name in label:
            pairs[is_difficult].append((i, label[name]))
    _set(states, pairs[1], STATES[difficult_as])
    _set(states, pairs[0], POSITIVE)
    return ImageLabels([f'{name}.jpg' for name in image_ids], classes, states)


def read_image_ids(path: Path) -> list[str]:
    """The ids in a text file, the first word of each line; as in VOC's ImageSets.

    Raises:
        AnnotationFileError: no text, an empty file, or an id that comes twice.
    """
    try:
        ids = [line.split()[0] for line in path.read_bytes().decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise AnnotationFileError(
            f'Expected {path} to be a text file with an image id a line, but it is none.'
        ) from None
    twice = next((name for name in ids if ids.count(name) > 1), None) if len(set(ids)) < len(ids) else None
    if twice or not ids:
        raise AnnotationFileError(
            f'Expected {path} to name images, each once, but ' + (f'{twice} comes twice.' if twice else 'it is empty.')
        )
    return ids


def _set(states: np.ndarray, pairs: list[tuple[int, int]], state: int) -> None:
    """Put ``state`` at the pairs (image, class)."""
    if pairs:
        rows, columns = np.array(pairs).T
        states[rows, columns] = state


def _image_name(image: dict, federated: bool) -> str:
    """LVIS names its images by URL, and some of them by the name that they had in COCO 2014, too."""
    return image_file_name(image) if federated else image.get('file_name') or image_file_name(image)
