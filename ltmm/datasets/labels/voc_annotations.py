"""Reader of Pascal VOC folders, as the benchmark, LabelImg and CVAT write them."""

import math
import os
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ltmm.datasets.image_paths import IMAGE_SUFFIXES
from ltmm.utils.data_files import DataFileError, decode_text, read_text

from .lvis_annotations import AnnotationFileError

__all__ = ['VOCImage', 'VOCObject', 'find_images', 'read_image_ids', 'read_voc_annotations']


class VOCObject(NamedTuple):
    """An object of an xml file; ``box`` is (xmin, ymin, xmax, ymax), or None."""

    name: str
    is_difficult: bool
    box: tuple[float, float, float, float] | None


class VOCImage(NamedTuple):
    """The content of an xml file; ``size`` is (width, height), or None."""

    objects: list[VOCObject]
    size: tuple[int, int] | None


def read_image_ids(path: Path, is_known: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Read the image ids of a text file, one per line, as in VOC's ImageSets.

    An id is the first of these that is known, or else the first word of the line, as in VOC's lists per class: the
    line, which may hold blanks; the line without the suffix of an image; its last part, without folders.

    Args:
        path: Path of the file.
        is_known: Whether there is an annotation for an id.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    ids = [next(filter(is_known, _candidates(line)), line.split()[0]) for line in lines]
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated or not ids:
        raise AnnotationFileError(f'{path} ' + (f'lists {repeated[0]} more than once.' if repeated else 'is empty.'))
    return ids


def read_voc_annotations(image_ids: Sequence[str], folder: Path) -> list[VOCImage]:
    """Read the files ``<id>.xml`` in a folder."""
    missing = [name for name in image_ids if not (folder / f'{name}.xml').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(image_ids)} annotation files are not in {folder.absolute()}, {missing[0]}.xml '
            'first.'
        )
    return [_read_xml(folder / f'{name}.xml') for name in image_ids]


def find_images(image_ids: Sequence[str], folder: Path) -> list[str]:
    """Return the file of each image, relative to ``folder``; ``<id>.jpg`` where there is none, or several."""
    folders: dict[str, dict[str, list[str]]] = {}  # sub-folder -> stem -> files

    def find(image_id: str) -> str:
        parent, stem = os.path.split(image_id)
        if parent not in folders:
            folders[parent] = {}
            for file in sorted(os.listdir(folder / parent)) if (folder / parent).is_dir() else ():
                if file.lower().endswith(IMAGE_SUFFIXES):
                    folders[parent].setdefault(os.path.splitext(file)[0], []).append(file)
        files = folders[parent].get(stem, ())
        return os.path.join(parent, files[0] if len(files) == 1 else f'{stem}.jpg')

    return [find(image_id) for image_id in image_ids]


def _candidates(line: str) -> list[str]:
    stem = os.path.splitext(line)[0] if line.lower().endswith((*IMAGE_SUFFIXES, '.xml')) else line
    return [line, stem, os.path.basename(stem), line.split()[0]]


def _read_xml(path: Path) -> VOCImage:
    try:
        root = _parse(path.read_bytes(), path)
        objects = [_read_object(item) for item in root.findall('object')]
        size = tuple(int(float(root.findtext(f'size/{side}') or 0)) for side in ('width', 'height'))
    except DataFileError:
        raise
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AnnotationFileError(f'{path} is not a Pascal VOC annotation ({error}).') from None
    return VOCImage(objects, size if min(size) > 0 else None)


def _parse(data: bytes, path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError):  # ValueError: the parser has no GBK
        declared = re.match(rb'\s*<\?xml[^>]*?encoding=["\']([\w.-]+)', data)
    try:
        text = data.decode(declared[1].decode()) if declared else None
    except (LookupError, UnicodeDecodeError):  # not the encoding that the file declares
        text = None
    return ElementTree.fromstring(decode_text(data, path) if text is None else text)


def _read_object(item: ElementTree.Element) -> VOCObject:
    box = item.find('bndbox')
    if box is not None:
        box = tuple(float(box.findtext(corner)) for corner in ('xmin', 'ymin', 'xmax', 'ymax'))
        if not all(map(math.isfinite, box)):
            raise ValueError(f'box {box}')
    difficult = (item.findtext('difficult') or '').strip().lower()  # some tools write 'Unspecified'
    is_difficult = difficult == 'true' or (difficult.isdecimal() and int(difficult) > 0)
    return VOCObject(item.findtext('name').strip(), is_difficult, box)
