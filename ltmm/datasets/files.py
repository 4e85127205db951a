"""Where the data lie, and how what is missing gets there: whole or not at all, fetched by one process."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

__all__ = ['FindsItsFiles', 'data_roots', 'file_or_gz', 'find_folder', 'install', 'on_main_process']

DATA_ROOT_VARIABLE = 'LTMM_DATA_ROOT'
TIMEOUT = 30  # seconds without an answer


def data_roots() -> list[Path]:
    """Folders that hold datasets, in the order of search: ``$LTMM_DATA_ROOT`` where it is set, then ``data/``."""
    named = os.environ.get(DATA_ROOT_VARIABLE)
    return [*([Path(named).expanduser()] if named else []), Path('data')]


def find_folder(folders: Sequence[str], is_right: Callable[[Path], bool] = Path.is_dir) -> Path:
    """The first of ``folders`` under any data root that is right; where none is, where it should be.

    Args:
        folders: names to look for under each of :func:`data_roots`; the first is where new data go.
        is_right: tells whether a folder holds what is wanted.
    """
    candidates = [root / folder for root in data_roots() for folder in folders]
    return next(filter(is_right, candidates), candidates[0])


def file_or_gz(path: Path) -> Path | None:
    """``path``, or ``path`` + '.gz', whichever exists, or None."""
    return next((p for p in (path, path.with_name(path.name + '.gz')) if p.is_file()), None)


def on_main_process(action: Callable[[], None]) -> None:
    """Run ``action`` on rank 0 while the other ranks wait; where it fails, every rank raises what it raised."""
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
    """Let ``fetch`` fill a temporary folder, and move what it holds into ``folder`` once it has returned.

    Args:
        folder: where the data shall lie; a failed or interrupted ``fetch`` leaves nothing in it.
        fetch: takes the name of the temporary folder.

    Raises:
        OSError: the folder cannot be written, or whatever ``fetch`` raises.
    """
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


class FindsItsFiles:
    """Mixin of mmpretrain's datasets that can download themselves: looks for the files first, and downloads safely.

    Without ``data_root`` the files are looked for in :attr:`folders` under ``$LTMM_DATA_ROOT`` and ``data/``, and
    downloaded there by rank 0 where they are missing. With ``data_root``, only there.

    Args:
        data_root: the folder that holds the files.
        download: fetch missing files from the internet.

    Raises:
        FileNotFoundError: the data are neither there nor to be had; says where was looked and how to fetch them.
    """

    name = ''
    folders: tuple[str, ...] = ()
    remedy = ''  # a command; '{folder}' stands for where the data go

    def __init__(self, data_root: str = '', download: bool = True, **kwargs) -> None:
        self._looked_in: list[Path] = []
        if not data_root and not kwargs.get('data_prefix'):
            data_root = str(find_folder(self.folders, lambda folder: not self.missing_files(folder)))
            self._looked_in = [root / folder for root in data_roots() for folder in self.folders]
        super().__init__(data_root=data_root, download=download, **kwargs)

    def missing_files(self, folder: Path) -> list[str]:
        """Names of the files that are not in ``folder``."""
        raise NotImplementedError

    def fetch(self, folder: str) -> None:
        """Download all files into ``folder``."""
        raise NotImplementedError

    def make_available(self) -> None:
        """Fetch on rank 0 what is missing; to be called on every rank before the files are read."""
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
        places = ''.join(f'\n    {place.absolute()}' for place in self._looked_in or [folder])
        raise FileNotFoundError(
            f'{self.name} is not there: no {", ".join(missing)} in any of{places}\n'
            f'{reason} Fetch it with\n    {self.remedy.format(folder=folder)}\n'
            f'or set {DATA_ROOT_VARIABLE} to the folder that holds it.'
        )


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Let connections fail that do not answer; the downloader of mmpretrain waits for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
