"""Annotations in the format of YOLO: a text file per image with normalized boxes or polygons."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from ltmm.datasets.image_paths import IMAGE_SUFFIXES, files_under, is_hidden
from ltmm.utils.data_files import DataFileError, read_text
from ltmm.utils.errors import InputError

from .files import new_folder, place_images
from .masks import as_polygons, joined
from .records import Annotations, ImageRecord, ObjectRecord, class_list, relative_name

__all__ = ['read_yolo', 'write_yolo']

NAME_FILES = ('data.yaml', 'data.yml', 'dataset.yaml', 'classes.txt', 'obj.names', '_darknet.labels', 'labels.txt')
SLACK = 1e-4  # of normalized coordinates, from rounding
LOSSES = dict(
    ignored='crowd or difficult objects are left out: YOLO has no mark for them',
    boxed='objects without mask became rectangles',
    rounded='run-length masks became the polygons of their outlines, without holes',
    several='masks of several parts became one polygon, joined by lines of no width',
    cut='objects reach out of their image and are cut at its border',
    outside='objects have no area inside their image and are left out',
)


def read_yolo(source: Path, images: Path | None, split: str | None, classes: Sequence[str] | None) -> Annotations:
    """Read a folder, or the data.yaml in it.

    The labels of ``images/a.jpg`` are in ``labels/a.txt``, or in ``a.txt`` beside the image; without such a file, the
    image has no objects.

    Args:
        source: The folder.
        images: The same, if the labels are elsewhere.
        split: Name of a sub-folder such as ``train``; the images under others are left out.
        classes: Names of the classes to keep, in label order.
    """
    folder = source.parent if source.is_file() else source
    if not folder.is_dir():
        raise FileNotFoundError(f'Folder {folder.absolute()} does not exist.')
    names = _read_names(source if source.is_file() else folder)
    classes = class_list(names, classes, folder)
    root = images or folder
    paths = sorted(p for p in files_under(root) if p.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(p))
    if split is not None:
        paths = [path for path in paths if split in PurePosixPath(path).parts[:-1]]
    if not paths:
        raise InputError(f'{root} has no images' + f' in a folder {split!r}.' * (split is not None))
    annotations = Annotations(classes, [ImageRecord(relative_name(path, root)) for path in paths], root, 'boxes')
    annotations.load_sizes()
    label = {names.index(name): i for i, name in enumerate(classes)}
    found = 0
    for image in annotations.images:
        file = _label_file(folder, image.name)
        if file is not None:
            found += 1
            image.objects = _read_labels(file, image.size, len(names), label)
    if not found:
        raise InputError(
            f'{folder} has images, but no label files: labels/a.txt for images/a.jpg, or beside the image.'
        )
    return annotations


def write_yolo(annotations: Annotations, out: Path, copy: bool) -> list[str]:
    """Write ``data.yaml``, ``images/`` and ``labels/``. Return what is lost."""
    annotations.check_boxes('yolo')
    annotations.check_images()
    annotations.load_sizes()
    has_masks = any(item.mask is not None for image in annotations.images for item in image.objects)
    lost = Counter()
    with new_folder(out) as folder:
        stems: dict[str, str] = {}
        for image in annotations.images:
            file = (folder / 'labels' / image.name).with_suffix('.txt')
            if stems.setdefault(str(file), image.name) != image.name:
                raise InputError(f'{image.name} and {stems[str(file)]} would have the same label file.')
            lines = []
            for item in image.objects:
                values = None if item.is_ignored else _values(item, image.size, has_masks, lost)
                lost['ignored'] += item.is_ignored
                if values is not None:
                    lines.append(' '.join([str(item.label), *(f'{value:.9g}' for value in values.ravel())]))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(''.join(f'{line}\n' for line in lines))
        place_images(((annotations.folder / im.name, folder / 'images' / im.name) for im in annotations.images), copy)
        names = dict(enumerate(annotations.classes))
        content = yaml.safe_dump(dict(path='.', train='images', val='images', names=names), allow_unicode=True,
                                 sort_keys=False)  # fmt: skip
        (folder / 'data.yaml').write_text(content, encoding='utf-8')
    return [f'{lost[key]} {text}.' for key, text in LOSSES.items() if lost[key]]


def _values(item: ObjectRecord, size: tuple[int, int], has_masks: bool, lost: Counter) -> np.ndarray | None:
    """Return the numbers of an object, None if it is outside of the image; count in ``lost`` what they cannot hold."""
    if has_masks:
        polygons, is_exact = as_polygons(item)
        lost['boxed'] += item.mask is None
        lost['rounded'] += not is_exact
        lost['several'] += len(polygons) > 1
        points = np.reshape(joined(polygons), (-1, 2)) / size
    else:
        x, y, w, h = item.box
        points = np.array([[x, y], [x + w, y + h]]) / size
    inside = points.clip(0, 1)
    if (np.ptp(inside, axis=0) == 0).any():
        lost['outside'] += 1
        return None
    lost['cut'] += bool((np.abs(points - inside) > SLACK).any())
    return inside if has_masks else np.array([inside.mean(axis=0), inside[1] - inside[0]])


def _read_names(source: Path) -> list[str]:
    files = [source] if source.is_file() else [source / name for name in NAME_FILES]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise FileNotFoundError(f'{source} has no file with the names of the classes: data.yaml or classes.txt.')
    text = read_text(file)
    if file.suffix not in ('.yaml', '.yml'):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataFileError(f'{file} is not a YAML file ({" ".join(str(error).split())[:150]}).') from None
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int, float)) for name in names):
        raise DataFileError(f'{file}: expected `names` to be a list of names, or 0: name, 1: name, ...')
    return list(map(str, names))


def _label_file(folder: Path, image: str) -> Path | None:
    path = PurePosixPath(image)
    candidates = [path]
    if 'images' in path.parts:
        i = len(path.parts) - 1 - path.parts[::-1].index('images')
        candidates.insert(0, PurePosixPath(*path.parts[:i], 'labels', *path.parts[i + 1 :]))
    else:
        candidates.append('labels' / path)
    files = [(folder / candidate).with_suffix('.txt') for candidate in candidates]
    return next((file for file in files if file.is_file() and file.name not in NAME_FILES), None)


def _read_labels(file: Path, size: tuple[int, int], num_classes: int, label: dict[int, int]) -> list[ObjectRecord]:
    objects = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f'{file}, line {number}'
        try:
            index, values = float(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise DataFileError(f'{where}: expected numbers, but got {line[:60]!r}.') from None
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataFileError(
                f'{where}: expected a class and 4 numbers of a box or 6, 8, ... of a polygon, but got {len(values)}.'
            )
        if index not in range(num_classes):
            raise DataFileError(f'{where}: expected a class from 0 to {num_classes - 1}, but got {words[0]}.')
        bad = next((v for v in values if not math.isfinite(v) or not -SLACK <= v <= 1 + SLACK), None)
        if bad is not None:
            raise DataFileError(f'{where}: expected coordinates as shares of the image, 0 to 1, but got {bad}.')
        if int(index) in label:
            objects.append(_object(label[int(index)], values, size))
    return objects


def _object(label: int, values: list[float], size: tuple[int, int]) -> ObjectRecord:
    width, height = size
    if len(values) == 4:
        x, y, w, h = np.array(values) * (width, height, width, height)
        return ObjectRecord(label, (float(x - w / 2), float(y - h / 2), float(w), float(h)))
    points = np.reshape(values, (-1, 2)) * (width, height)
    low, high = points.min(axis=0), points.max(axis=0)
    polygon = [round(value, 4) for value in points.ravel().tolist()]
    return ObjectRecord(label, (*low.tolist(), *(high - low).tolist()), [polygon])
