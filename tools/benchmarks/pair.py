"""The two sides of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass


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
