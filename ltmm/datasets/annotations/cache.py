"""Cache of annotation files as columns: never stale, never half-written, built once by all processes together."""

import gc
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from mmengine.logging import print_log

from ltmm.datasets.labels.lvis_annotations import read_lvis_annotations
from ltmm.utils.data_files import REMOTE
from ltmm.utils.environment import check_extra

from .columns import VERSION, Annotations, UncacheableError, write_columns
from .records import iterate_blocks, slices

__all__ = ['cache_folder', 'load_annotations', 'sha256_of']

CACHE_VARIABLE = 'LTMM_CACHE'


def cache_folder() -> Path:
    """Return the folder of caches: ``$LTMM_CACHE``, or ``ltmm`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return _expanded(named)
    return _expanded(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'ltmm'


def _expanded(folder: str | Path) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise UncacheableError(
            f'the folder of caches, {folder}, is in a home directory that does not exist: set `cache_dir` or '
            f'{CACHE_VARIABLE}'
        ) from None


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of the content of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        while block := file.read(1 << 18):
            digest.update(block)
    return digest.hexdigest()


def load_annotations(ann_file: str | Path, folder: Path | None = None) -> Annotations:
    """Open the columns of an annotation file; write them to the cache if they are not there.

    The key is the content of the file, read at each start: a changed file of the same size and time is another key.
    Columns are written to a temporary folder that is renamed at the end, while other processes wait for a file lock; a
    folder with a missing or truncated file is built again, with a warning. Corruption that keeps the size of a file is
    not detected. The data folder is only read. Caches of earlier contents are never deleted.

    Args:
        ann_file: Path of a local json file in the format of COCO or LVIS.
        folder: Folder of caches. Default: ``annotations`` in :func:`cache_folder`.

    Raises:
        FileNotFoundError, InputError: See :func:`read_lvis_annotations`.
        EnvironmentProblem: The extra ``det`` is not installed.
        UncacheableError: The file is valid but has no columns: ids are texts, or there are no objects; or the folder of
            caches is in a home that does not exist.
        OSError: The cache cannot be written.
    """
    if str(ann_file).startswith(REMOTE):
        raise UncacheableError('the file is not local')
    if not Path(ann_file).is_file():
        read_lvis_annotations(str(ann_file))  # raises
    check_extra('det', 'orjson', 'filelock')
    root = cache_folder() / 'annotations' if folder is None else _expanded(folder)
    target = root / f'{sha256_of(ann_file)}-{VERSION}'
    if (found := _open(target)) is not None:
        return found
    root.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock

    with FileLock(f'{target}.lock'):
        if (found := _open(target)) is not None:  # built by another process
            return found
        if target.exists():
            print_log(f'{target} is incomplete; it is built again.', 'current', logging.WARNING)
            shutil.rmtree(target)
        prefix = f'.{target.name[:16]}-'
        for left in root.glob(f'{prefix}*'):  # by a build that was killed
            shutil.rmtree(left, ignore_errors=True)
        print_log(f'Writing the annotations of {ann_file} to the cache {target}.', 'current')
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        collects = gc.isenabled()
        gc.disable()  # records have no cycles, and collection takes a fifth of the time
        try:
            _build(str(ann_file), temporary)
            if f'{sha256_of(ann_file)}-{VERSION}' != target.name:
                raise UncacheableError('the file changed while it was read')
            temporary.chmod(0o755)
            temporary.rename(target)
        finally:
            if collects:
                gc.enable()
            shutil.rmtree(temporary, ignore_errors=True)
    return Annotations(target)


def _open(folder: Path) -> Annotations | None:
    try:
        return Annotations(folder)
    except ValueError:
        return None


def _build(ann_file: str, folder: Path) -> None:
    try:
        write_columns(iterate_blocks(ann_file), folder)
        return
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        content = read_lvis_annotations(ann_file)  # says what is wrong
    try:  # valid, but not for the reader of blocks, such as one with NaN or a byte order mark
        write_columns(slices(content), folder)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise UncacheableError(str(e)) from None
