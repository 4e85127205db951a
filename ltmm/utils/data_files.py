"""Readers of text, json and array files that end in one line for a file that cannot be read."""

import gzip
import json
import re
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .errors import InputError

__all__ = [
    'DataFileError',
    'decode_text',
    'guess_encoding',
    'read_array',
    'read_arrays',
    'read_json',
    'read_text',
    'why_unreadable',
]

# a lying header asks for more memory than there is, or for more bytes than an integer holds
ARRAY_ERRORS = (
    ValueError,
    KeyError,
    EOFError,
    BadZipFile,
    zlib.error,
    MemoryError,
    OverflowError,
    RecursionError,
    TokenError,
)


REMOTE = ('http://', 'https://', 's3://', 'petrel://')


class DataFileError(InputError):
    """A file that cannot be read: truncated, in another encoding or of another format."""


def read_text(path: str | Path, backend_args: dict | None = None) -> str:
    """Read a text file in UTF-8, with or without byte order mark; a name in ``.gz`` is unpacked.

    Args:
        path: Path of the file.
        backend_args: Arguments of MMEngine's file backend, for remote files.

    Raises:
        DataFileError: The file has another encoding, or is a damaged gzip file.
    """
    if backend_args or str(path).startswith(REMOTE):
        from mmengine import fileio  # here, as losses without OpenMMLab import this module

        data = fileio.get(str(path), backend_args=backend_args)
    else:
        data = Path(path).read_bytes()
    if str(path).endswith('.gz'):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as e:
            raise DataFileError(f'{path} is truncated or not a gzip file ({e}).') from None
    return decode_text(data, path)


def decode_text(data: bytes, path: str | Path) -> str:
    """Decode UTF-8, with or without byte order mark; name the encoding of other text."""
    try:
        text, line = data.decode('utf-8-sig'), 1
        if '\0' not in text[:100]:
            return text
    except UnicodeDecodeError as e:
        line = data.count(b'\n', 0, e.start) + 1
    encoding = guess_encoding(data)
    if encoding is None:
        raise DataFileError(f'{path} is not a text file.')
    raise DataFileError(
        f'{path} is not in UTF-8 (line {line}) but seems to be in {encoding}. Convert it: iconv -f {encoding} -t UTF-8 '
        f'{path} > NEW_FILE'
    )


def read_json(path: str | Path, backend_args: dict | None = None, **kwargs: Any) -> Any:
    """Read a json file.

    Args:
        path: Path of the file.
        backend_args: Arguments of MMEngine's file backend, for remote files.
        **kwargs: Arguments of ``json.loads``.

    Raises:
        DataFileError: The file is not complete json, or has another encoding.
    """
    text = read_text(path, backend_args)
    try:
        return json.loads(text, **kwargs)
    except InputError as e:  # of a hook in `kwargs`
        raise DataFileError(f'{path}: {e}') from None
    except RecursionError:
        raise DataFileError(f'{path} is nested too deeply to be an annotation file.') from None
    except ValueError as e:
        raise DataFileError(f'{path} is truncated or not a JSON file ({e}; {len(text):,} characters).') from None


def read_array(path: str | Path, mmap_mode: str | None = None, remedy: str = '') -> np.ndarray:
    """Read a .npy file without pickled objects.

    Args:
        path: Path of the file.
        mmap_mode: See ``numpy.load``.
        remedy: A sentence that says how to get the file again.

    Raises:
        DataFileError: The file is truncated or not a .npy file.
    """
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except ARRAY_ERRORS as e:
        raise _array_error(path, e, remedy) from None
    if not isinstance(array, np.ndarray):
        raise DataFileError(f'Expected {path} to be a .npy file, but it is a .npz archive.')
    return array


def read_arrays(path: str | Path, names: Sequence[str], remedy: str = '') -> list[np.ndarray]:
    """Read the arrays of these names from a .npz file without pickled objects; ``remedy`` as in :func:`read_array`.

    Raises:
        DataFileError: The file is truncated, not a .npz file, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (*ARRAY_ERRORS, TypeError, AttributeError) as e:  # TypeError, AttributeError: a .npy file
        raise _array_error(path, e, remedy) from None


def why_unreadable(error: Exception) -> str | None:
    """Return what is wrong with the annotation file that a dataset of OpenMMLab could not decode; None otherwise."""
    from mmengine.dataset import BaseDataset

    if not isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, RecursionError)):
        return None
    selves = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    dataset = next((owner for owner in selves[::-1] if isinstance(owner, BaseDataset) and owner.ann_file), None)
    if dataset is None:
        return None
    try:
        (read_json if dataset.ann_file.endswith('.json') else read_text)(dataset.ann_file)
    except DataFileError as e:
        return str(e)
    name = type(dataset).__name__
    return f'{dataset.ann_file}: {name} cannot read it ({error}). Save it in UTF-8 without byte order mark.'


def _array_error(path: str | Path, error: Exception, remedy: str) -> DataFileError:
    reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
    size = Path(path).stat().st_size
    kind = f'a {Path(path).suffix} file'
    return DataFileError(f'{path} is truncated or not {kind} ({reason}; {size:,} bytes). {remedy}'.rstrip())


def guess_encoding(data: bytes) -> str | None:
    """Guess the encoding of text that is not UTF-8; None for binary data."""
    start = data[:4096]
    if start.startswith((b'\xff\xfe', b'\xfe\xff')) or start.count(0) > len(start) // 4:
        return 'UTF-16'
    if 0 in start:
        return None
    # in GBK a byte >= 0x81 starts a pair; common characters have both bytes >= 0xa1. Latin letters stand alone
    pairs = re.fullmatch(rb'(?:[\x00-\x7f]|[\xa1-\xfe][\xa1-\xfe]|[\x81-\xfe][\x40-\xfe])*', data)
    alone = len(re.findall(rb'(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])', data))
    return 'GBK' if pairs and not alone else 'WINDOWS-1252'
