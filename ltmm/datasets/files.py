"""Where datasets are found, and how missing files are downloaded: atomically, by rank 0."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

__all__ = ['DownloadMixin', 'check_images', 'data_roots', 'file_or_gz', 'find_folder', 'install', 'on_main_process']

IMAGE_SOURCE = 'Set `data_root` and `data_prefix`.'
DATA_ROOT_VARIABLE = 'LTMM_DATA_ROOT'
TIMEOUT = 30  # seconds
MAX_DIGITS = 18  # of a label; 64 bits hold them


def data_roots() -> list[Path]:
    """Return the folders that may hold datasets: ``$LTMM_DATA_ROOT`` if set, then ``data/``."""
    named = os.environ.get(DATA_ROOT_VARIABLE)
    return [*([Path(named).expanduser()] if named else []), Path('data')]


def find_folder(folders: Sequence[str], is_valid: Callable[[Path], bool] = Path.is_dir) -> Path:
    """Return the first of ``folders`` under any of :func:`data_roots` that is valid; if there is none, the first."""
    candidates = [root / folder for root in data_roots() for folder in folders]
    return next(filter(is_valid, candidates), candidates[0])


def file_or_gz(path: Path) -> Path | None:
    """Return ``path`` or ``path`` + '.gz', whichever exists, or None."""
    return next((p for p in (path, path.with_name(path.name + '.gz')) if p.is_file()), None)


def missing_images(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the ``names`` that are not under ``folder``; lists every sub-folder once instead of testing each file."""
    wanted: dict[str, list[str]] = {}
    for name in names:
        parent, _, file = name.rpartition('/')
        wanted.setdefault(parent, []).append(file)
    missing = []
    for parent, files in wanted.items():
        try:
            present = set(os.listdir(folder / parent))
        except (FileNotFoundError, NotADirectoryError):
            present = set()
        missing += [f'{parent}/{file}' if parent else file for file in files if file not in present]
    return missing


def check_images(folder: Path, names: Sequence[str], source: str) -> None:
    """Raise a FileNotFoundError if images are missing; ``source`` is a sentence that says where to get them."""
    missing = missing_images(folder, names)
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} images are missing, {folder.absolute() / missing[0]} first. {source} '
            'Set check_files=False to skip this check.'
        )


def on_main_process(action: Callable[[], None]) -> None:
    """Run ``action`` on rank 0 while the other ranks wait; all ranks raise its exception."""
    failure: list[Exception | None] = [None]
    if is_main_process():
        try:
            action()
        except Exception as error:
            failure = [error]
    broadcast_object_list(failure)
    if failure[0] is not None:
        raise failure[0]


def install(folder: Path, fetch: Callable[[str], None]) -> None:
    """Let ``fetch`` fill a temporary folder, and move its content into ``folder`` on success."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix='.fetching-', dir=folder) as temporary:
            fetch(temporary)
            for item in Path(temporary).iterdir():
                os.replace(item, folder / item.name)
    except BaseException:
        with suppress(OSError):  # not empty
            folder.rmdir()
        raise


class DownloadMixin:
    """Mixin for the downloadable datasets of mmpretrain: searches the data roots, and downloads atomically on rank 0.

    Args:
        data_root: Folder of the files. Default: the first of :attr:`folders` under ``$LTMM_DATA_ROOT`` or ``data/``
            that has them.
        download: Download missing files.
    """

    name = ''
    folders: tuple[str, ...] = ()
    command = ''  # downloads the data by hand; '{folder}' stands for their folder

    def __init__(self, data_root: str = '', download: bool = True, **kwargs) -> None:
        self._searched: list[Path] = []
        if not data_root and not kwargs.get('data_prefix'):
            data_root = str(find_folder(self.folders, lambda folder: not self.missing_files(folder)))
            self._searched = [root / folder for root in data_roots() for folder in self.folders]
        super().__init__(data_root=data_root, download=download, **kwargs)

    def missing_files(self, folder: Path) -> list[str]:
        """Return the names of the files that are not in ``folder``."""
        raise NotImplementedError

    def fetch(self, folder: str) -> None:
        """Download all files into ``folder``."""
        raise NotImplementedError

    def ensure_files(self) -> None:
        """Download missing files on rank 0; to be called on every rank before the files are read."""
        on_main_process(self._fetch_missing)
        folder = Path(self.data_prefix['root'])
        if self.missing_files(folder):
            raise FileNotFoundError(f'{self.name} is in {folder.absolute()} on the first node, but not on this one.')

    def _fetch_missing(self) -> None:
        folder = Path(self.data_prefix['root'])
        missing = self.missing_files(folder)
        if not missing:
            return
        reason = 'It was not downloaded, as download=False.'
        if self.download:
            try:
                with _timeout(TIMEOUT):
                    return install(folder, self.fetch)
            except (OSError, RuntimeError, HTTPException) as error:
                reason = f'The download failed: {error}.'
        searched = ''.join(f'\n    {place.absolute()}' for place in self._searched or [folder])
        raise FileNotFoundError(
            f'{self.name}: {", ".join(missing)} not found in any of{searched}\n'
            f'{reason} Download it with\n    {self.command.format(folder=folder)}\n'
            f'or set {DATA_ROOT_VARIABLE} to the folder that holds it.'
        )


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Set the timeout of connections; mmpretrain's downloader has none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
