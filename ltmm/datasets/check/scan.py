"""Facts on image files, read by several processes."""

import hashlib
import multiprocessing
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

import imagehash
import numpy as np
from mmengine.utils import ProgressBar
from PIL import ExifTags, Image, ImageStat

__all__ = ['ImageFacts', 'read_facts', 'scan_images']

CHUNK = 16  # images that a process gets at a time
THUMBNAIL = 128  # pixels; JPEG files are decoded at the next size above
FLAT = 2.0  # standard deviation of the gray levels, of 255, below which a picture has no content to compare


@dataclass
class ImageFacts:
    """Facts on an image file; all but path and problem are unset where it cannot be read.

    Args:
        path: Path of the file.
        problem: Why it cannot be read; empty otherwise.
        size: Width and height in pixels, before a turn by EXIF.
        mode: Pillow's mode, such as ``RGB``.
        is_turned: Whether the EXIF orientation turns or mirrors the picture.
        digest: Hash of the bytes.
        look: Perceptual hash of 64 bits; None for a picture of one color.
    """

    path: str
    problem: str = ''
    size: tuple[int, int] = (0, 0)
    mode: str = ''
    is_turned: bool = False
    digest: bytes = b''
    look: int | None = None


def read_facts(path: str) -> ImageFacts:
    """Read an image file."""
    warnings.simplefilter('ignore')  # of Pillow, on damaged EXIF data
    try:
        with open(path, 'rb') as file:
            digest = _digest(file)
            file.seek(0)
            with Image.open(file) as image:
                size, mode = image.size, image.mode
                is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
                image.draft('RGB', (THUMBNAIL, THUMBNAIL))
                gray = image.convert('L').resize((THUMBNAIL, THUMBNAIL))
    except FileNotFoundError:
        return ImageFacts(path, 'does not exist')
    except Exception as error:  # decoders raise anything
        return ImageFacts(path, str(error).partition('<_io')[0].strip() or type(error).__name__)
    is_flat = ImageStat.Stat(gray).stddev[0] < FLAT
    look = None if is_flat else int(np.packbits(imagehash.phash(gray).hash.ravel()).view('>u8')[0])
    return ImageFacts(path, '', size, mode, is_turned, digest, look)


def scan_images(paths: Sequence[str], workers: int, show_progress: bool = True) -> Iterator[ImageFacts]:
    """Yield the facts on image files, in order.

    Args:
        paths: The files.
        workers: Processes; 0 reads in this one.
        show_progress: Show a progress bar on a terminal.
    """
    bar = ProgressBar(len(paths)) if show_progress and paths and sys.stdout.isatty() else None
    if workers:
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context('fork' if 'fork' in methods else None)  # imports take seconds
        with ProcessPoolExecutor(workers, context) as pool:
            for facts in pool.map(read_facts, paths, chunksize=CHUNK):
                yield facts
                if bar:
                    bar.update()
    else:
        for path in paths:
            yield read_facts(path)
            if bar:
                bar.update()
    if bar:
        bar.file.write('\n')


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha1()
    while block := file.read(2**20):
        digest.update(block)
    return digest.digest()
