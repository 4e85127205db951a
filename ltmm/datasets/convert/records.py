"""The annotations of a dataset in memory, between the formats."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags, Image

from ltmm.datasets.files import missing_images
from ltmm.datasets.labels.label_states import NEGATIVE, POSITIVE, UNKNOWN
from ltmm.utils.errors import InputError

__all__ = ['Annotations', 'ImageRecord', 'ObjectRecord', 'class_list', 'image_size', 'relative_name']


@dataclass
class ObjectRecord:
    """An object of an image.

    Args:
        label: Class index.
        box: x and y of the corner, width, height; pixels from 0.
        mask: Polygons, ``[[x1, y1, x2, y2, ...], ...]`` in pixels, or a run-length code of COCO; None without mask.
        is_ignored: Crowd region of COCO, difficult object of VOC.
    """

    label: int
    box: tuple[float, float, float, float]
    mask: list | dict | None = None
    is_ignored: bool = False


@dataclass
class ImageRecord:
    """An image: with objects, or with label states.

    Args:
        name: Path relative to the folder of the images, with slashes.
        size: Width and height in pixels; None if unknown.
        objects: Objects in data with boxes.
        states: 1 positive, 0 negative, -1 unknown, int8, (C,); None in data with boxes.
    """

    name: str
    size: tuple[int, int] | None = None
    objects: list[ObjectRecord] = field(default_factory=list)
    states: np.ndarray | None = None


@dataclass
class Annotations:
    """Annotations of a dataset.

    Args:
        classes: C class names in label order.
        images: The images.
        folder: Folder of the images.
        kind: ``'boxes'``, ``'single'`` (one label per image) or ``'multi'`` (several).
    """

    classes: tuple[str, ...]
    images: list[ImageRecord]
    folder: Path
    kind: str

    def states(self) -> np.ndarray:
        """Return the states of all labels, (N, C); a class that has ignored objects only is unknown."""
        states = np.full((len(self.images), len(self.classes)), NEGATIVE, dtype=np.int8)
        for row, image in zip(states, self.images):
            if image.states is not None:
                row[:] = image.states
                continue
            row[[item.label for item in image.objects if item.is_ignored]] = UNKNOWN
            row[[item.label for item in image.objects if not item.is_ignored]] = POSITIVE
        return states

    def check_boxes(self, to: str) -> None:
        """Raise an InputError if there are no boxes."""
        if self.kind != 'boxes':
            raise InputError(f'The format {to} holds boxes, but the source has labels of images only.')

    def load_sizes(self) -> None:
        """Read the sizes that are unknown from the images."""
        unknown = [image for image in self.images if image.size is None]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            sizes = threads.map(image_size, [self.folder / image.name for image in unknown])
            for image, size in zip(unknown, sizes):
                image.size = size

    def check_images(self) -> None:
        """Raise a FileNotFoundError if images are missing."""
        missing = missing_images(self.folder, [image.name for image in self.images])
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(self.images)} images are missing, {self.folder / missing[0]} first. '
                'Set --images-from to the folder of the images.'
            )

    def summary(self) -> str:
        """Return the numbers of images, objects and classes."""
        objects = sum(len(image.objects) for image in self.images)
        masks = sum(item.mask is not None for image in self.images for item in image.objects)
        parts = [f'{len(self.images)} images', f'{len(self.classes)} classes']
        if self.kind == 'boxes':
            parts[1:1] = [f'{objects} objects' + f', {masks} of them with masks' * bool(masks)]
        return ', '.join(parts)


def relative_name(name: str, source: str | Path) -> str:
    """Return a path with slashes; refuse one that leaves the folder of the images.

    Args:
        name: The path, of a file by others.
        source: Name of this file, for the error.
    """
    path = PurePosixPath(name if '/' in name else name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or '\0' in name or not path.name or ':' in path.parts[0]:
        raise InputError(f'{source}: the image {name!r} is not a path inside the folder of the images.')
    return str(path)


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height as an image viewer shows the image, turned by its EXIF orientation."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except FileNotFoundError:
        raise FileNotFoundError(f'Image {path} does not exist.') from None
    except Exception as error:  # decoders raise anything
        raise InputError(f'{path} cannot be read as an image ({error}).') from None


def class_list(found: Sequence[str], classes: Sequence[str] | None, source: str | Path) -> tuple[str, ...]:
    """Return the wanted classes, which have to be among those of the file; default: all of them."""
    for names, where in ((found, source), (classes or (), '--classes')):
        if repeated := next((name for i, name in enumerate(names) if name in names[:i]), None):
            raise InputError(f'{where}: two classes are called {repeated!r}.')
    missing = [name for name in classes or () if name not in found]
    if missing:
        raise InputError(
            f'{source} has no class {missing[0]!r}; it has {", ".join(found[:10])}{", ..." * (len(found) > 10)}.'
        )
    return tuple(classes or found)
