"""Where predictions are written: a .json file, a .csv file, a folder of drawings."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np

from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError

from .predictions import BoxPredictions, SingleLabelPredictions

__all__ = ['check_out', 'shared_folder', 'write_csv', 'write_drawing', 'write_json']

SUFFIXES = ('.json', '.csv', '')


def check_out(path: Path, overwrite: bool = False) -> None:
    """Raise an InputError for a path of another kind, or one that exists."""
    if path.suffix not in SUFFIXES:
        raise InputError(f'Expected --out to be a .json or .csv file or a folder without a suffix, but got {path}.')
    if path.suffix and path.is_dir():
        raise InputError(f'Expected --out {path} to be a file, but it is a folder.')
    if not path.suffix and path.exists() and not path.is_dir():
        raise InputError(f'Expected --out {path} to be a folder, but it is a file.')
    is_used = path.exists() and (bool(path.suffix) or any(path.iterdir()))
    if is_used and not overwrite:
        raise InputError(f'{path} exists. Choose another name, or write over it by --overwrite.')


def write_json(path: Path, records: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write all records, ``images``, beside what they come from."""
    text = json.dumps(dict(about, images=records), indent=1, ensure_ascii=False)
    AtomicLocalBackend().put_text(text, path)


def write_csv(
    path: Path, records: Sequence[dict[str, Any]], predictions: SingleLabelPredictions | BoxPredictions
) -> None:
    """Write one row per image, or per box."""
    rows = [row for record in records for row in predictions.rows(record)]
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, list(rows[0]) if rows else ['image'])
    writer.writeheader()
    writer.writerows(rows)
    AtomicLocalBackend().put_text(text.getvalue(), path)


def write_drawing(folder: Path, image: Path, shared: Path, drawing: np.ndarray) -> None:
    """Write a drawing as ``<path of the image below shared>.png``, so that no two images have one name.

    Args:
        folder: Where to write.
        image: The image.
        shared: The folder that all images share, see :func:`shared_folder`.
        drawing: (H, W, 3), RGB.
    """
    name = os.path.relpath(image, shared) + '.png'
    mmcv.imwrite(np.ascontiguousarray(drawing[..., ::-1]), str(folder / name))


def shared_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that has all files."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]))
