"""The two sides of a comparison, and the memory of a process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Two functions that do the same work.

    Args:
        name: Row of the table.
        ours: The work as ltmm does it. A function that returns a float has measured its seconds itself.
        reference: The work without ltmm.
        max_ratio: Bound of our time divided by the reference's.
        max_seconds: Bound of our time, in place of ``max_ratio``.
        megabytes: Measures our memory in MB.
        max_megabytes: Bound of it.
    """

    name: str
    ours: Callable[[], object]
    reference: Callable[[], object]
    max_ratio: float | None = None
    max_seconds: float | None = None
    megabytes: Callable[[], float] | None = None
    max_megabytes: float | None = None


def peak_memory() -> float:
    """Return the peak memory of this process in MB; ``ru_maxrss`` would be that of its parent, if that is larger."""
    (line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024
