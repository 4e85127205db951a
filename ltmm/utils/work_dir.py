"""Work directory of a training: its lock, and the checkpoint to resume from."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist
from filelock import FileLock, Timeout

from .checkpoints import check_checkpoint
from .errors import InputError

__all__ = ['latest_checkpoint', 'lock_work_dir']

LOCK = '.lock'
RANK_VARIABLES = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
SECONDS = 15  # data loading workers of a killed run hold its lock for up to 5 s

_locks: dict[Path, FileLock] = {}


def lock_work_dir(work_dir: str | Path) -> None:
    """Refuse to train where another run trains, and remove what killed runs left half-written.

    The lock ends with the process, however it ends. Only the first rank takes it.
    """
    work_dir = Path(work_dir).resolve()
    if work_dir in _locks or not _is_first_rank():
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work_dir / LOCK)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f'{work_dir} is locked by another run; waiting up to {SECONDS} s.', flush=True)
            lock.acquire(timeout=SECONDS)
    except Timeout:
        raise InputError(
            f'Another run is training in {work_dir}. Wait until it ends, or choose another --work-dir.'
        ) from None
    except NotImplementedError:
        print(f'{work_dir}: its file system has no locks; do not start two runs here.', flush=True)
    _locks[work_dir] = lock
    for path in work_dir.rglob('.*.part'):
        path.unlink(missing_ok=True)


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the newest complete checkpoint: the one in ``last_checkpoint``, else that of the highest epoch or iteration.

    ``last_checkpoint`` may be empty after a kill, and names another folder after the work directory was copied: a file
    of that name in ``work_dir`` comes first. A damaged checkpoint is reported, and the one before is taken.
    """
    problems = []
    for path in _candidates(Path(work_dir)):
        try:
            if not path.is_file():
                raise FileNotFoundError(f'{path.parent.name}: its checkpoint {path} is gone. Restore it.')
            check_checkpoint(path)
        except (InputError, FileNotFoundError) as e:
            problems.append(e)
            continue
        if problems and _is_first_rank():
            print(*problems, f'Resuming from {path}.', flush=True)
        return str(path)
    if problems:
        raise type(problems[0])(f'{problems[0]} Or delete {work_dir} to train again.')
    return None


def _candidates(work_dir: Path) -> Iterator[Path]:
    last = work_dir / 'last_checkpoint'
    named = Path(last.read_text(encoding='utf-8', errors='replace').strip()) if last.is_file() else Path()
    here = work_dir / named.name
    numbered = {
        path: int(match[1])
        for path in work_dir.glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name))
    }
    others = sorted(numbered.keys() - {here}, key=numbered.get, reverse=True)
    is_whole = named.suffix == '.pth'  # else empty, or cut by a kill
    if is_whole and (here.is_file() or not named.is_file()):
        yield here
    yield from others
    if is_whole and not here.is_file() and named.is_file():  # out_dir of CheckpointHook
        yield named


def _is_first_rank() -> bool:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return all(os.environ.get(name, '0') == '0' for name in RANK_VARIABLES)
