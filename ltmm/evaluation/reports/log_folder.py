"""Files that metrics write next to the log of a run."""

from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MMLogger

from ltmm.utils.atomic_backend import AtomicLocalBackend

__all__ = ['write_to_log_folder']


def write_to_log_folder(name: str | None, text: Callable[[], str]) -> None:
    """Write ``text()`` next to the log file, if there is one and ``name`` is not None; warn if the disk is full."""
    logger = MMLogger.get_current_instance()
    if name is None or logger.log_file is None:
        return
    path = Path(logger.log_file).parent / name
    try:
        AtomicLocalBackend().put(text().encode(), path)
    except OSError as e:
        logger.warning(f'Cannot write {path}: {e.strerror}.')
