"""Files that converters write: new ones only, complete or not at all."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ltmm.datasets.files import install
from ltmm.utils.errors import InputError

__all__ = ['new_file', 'new_folder', 'place_images']


@contextmanager
def new_file(path: Path, suffix: str) -> Iterator[TextIO]:
    """Open a text file that must not exist, and remove it after an error."""
    if path.suffix != suffix:
        raise InputError(f'Expected --out to be a {suffix} file, but got {path}.')
    if path.exists():
        raise InputError(f'{path} exists. Remove it or choose another --out.')
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.writing')
    try:
        with open(temporary, 'w', encoding='utf-8', newline='') as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, whose content is moved into ``path``, which must be empty or not exist."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f'{path} exists and is not empty. Remove it or choose another --out.')
    path = path.resolve()  # '.' has no name
    temporary = path.with_name(f'.{path.name}.writing')
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        install(path, lambda folder: shutil.copytree(temporary, folder, symlinks=True, dirs_exist_ok=True))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place_images(pairs: Iterable[tuple[Path, Path]], copy: bool) -> None:
    """Link or copy images; two that get the same name are an error.

    Args:
        pairs: Image, and its new path.
        copy: Copy the images. Default: symbolic links.
    """
    for image, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() or target.is_symlink():
            raise InputError(f'Two images would be written to {target.name}: the second is {image}.')
        if copy:
            shutil.copyfile(image, target)
        else:
            target.symlink_to(image.absolute())
