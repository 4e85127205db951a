"""Image files of folders; imports neither mmpretrain nor mmdet."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
from PIL import Image

__all__ = ['IMAGE_SUFFIXES', 'files_under', 'is_hidden', 'is_image']

NO_IMAGES = ('__MACOSX', '__pycache__')  # folders that tools leave behind
# suffixes of images that OpenCV reads
IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.dib', '.tif', '.tiff', '.ppm', '.pgm', '.pbm'),
    *('.pnm', '.jp2', '.gif', '.avif'),
)


def files_under(folder: Path) -> Iterator[str]:
    """Yield the paths of all files under ``folder``, relative to it; links are followed, except to a folder above."""
    top = Path(folder).resolve()
    above = {str(folder): {str(place) for place in (top, *top.parents)}}
    for parent, folders, files in os.walk(folder, followlinks=True):
        paths = {name: os.path.join(parent, name) for name in folders}
        folders[:] = [name for name in folders if os.path.realpath(paths[name]) not in above[parent]]
        above |= {paths[name]: above[parent] | {os.path.realpath(paths[name])} for name in folders}
        relative = os.path.relpath(parent, folder)
        yield from (file if relative == '.' else f'{relative}/{file}' for file in files)


def is_hidden(name: str) -> bool:
    """Whether a file or folder, relative to the image folder, is hidden or in a hidden folder."""
    return any(part.startswith('.') or part in NO_IMAGES for part in name.split('/'))


def is_image(path: str) -> bool:
    """Whether OpenCV or Pillow reads the file, by its suffix or else its first bytes."""
    if path.lower().endswith(IMAGE_SUFFIXES) or cv2.haveImageReader(path):
        return True
    try:
        with Image.open(path):
            return True
    except Image.DecompressionBombError:
        return True
    except OSError:
        return False
