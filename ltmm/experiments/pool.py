"""Jobs of a launcher, several at a time."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .jobs import POLL_SECONDS, Job, Launcher

__all__ = ['progress_bar', 'run_jobs']

Key = TypeVar('Key', bound=Hashable)


def run_jobs(
    launcher: Launcher,
    at_a_time: int,
    active: dict[Key, Job],
    next_job: Callable[[], tuple[Key, list[str], Path] | None],
    ended: Callable[[Key, int], None],
    show: Callable[[], None] = lambda: None,
) -> None:
    """Run jobs until there is no next one; all are stopped when this process ends.

    Args:
        launcher: Executes the jobs.
        at_a_time: How many.
        active: The running jobs; empty at first. Those that had to be stopped are left in it.
        next_job: Returns the key of the job to start, its command and its folder; None if there is none now.
        ended: Takes the key of a job that has ended, which is no longer active, and its exit status.
        show: Called between two looks at the jobs.
    """

    def start() -> None:
        while len(active) < at_a_time and (job := next_job()):
            key, command, folder = job
            active[key] = launcher.start(command, folder)

    with _terminated_at_exit(active):
        start()
        while active:
            show()
            time.sleep(POLL_SECONDS)
            for key in [key for key, job in active.items() if not job.is_alive()]:
                ended(key, active.pop(key).exitcode)
            start()


def progress_bar() -> Progress:
    """Progress bar over jobs; the remaining time follows from the mean speed."""
    columns = [TextColumn('{task.completed:.1f}/{task.total}'), BarColumn(), TimeElapsedColumn()]
    columns += [TextColumn('to go'), TimeRemainingColumn(), TextColumn('{task.description}')]
    return Progress(*columns, speed_estimate_period=float('inf'))


@contextlib.contextmanager
def _terminated_at_exit(active: Mapping[Key, Job]) -> Iterator[None]:
    """Stop the active jobs when this process ends."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated; the same command goes on from here.'))
    try:
        yield
    finally:
        for job in active.values():
            job.terminate()
        for job in active.values():
            job.join()
        signal.signal(signal.SIGTERM, previous)
