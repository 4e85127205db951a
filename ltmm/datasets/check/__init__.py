"""Check of the data of a config before a training: files, duplicates, labels, boxes."""

import os
from collections.abc import Mapping

from ltmm.utils.environment import check_extra

check_extra('data', 'imagehash')

from .advice import advise  # noqa: E402
from .finding import Finding  # noqa: E402
from .findings import find_all  # noqa: E402
from .parts import Part, load_parts  # noqa: E402
from .report import Report  # noqa: E402
from .scan import ImageFacts, read_facts, scan_images  # noqa: E402

__all__ = ['Finding', 'ImageFacts', 'Part', 'Report', 'check_data', 'read_facts', 'scan_images']


def check_data(
    cfg: Mapping,
    title: str = 'the config',
    limit: int | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Report:
    """Check the training, validation and test data of a config.

    Args:
        cfg: The config.
        title: Its name, for the report.
        limit: Image files to read of each part. Default: all.
        workers: Processes that read images; 0 reads in this one. Default: one per CPU, at most 8.
        progress: Show a progress bar on a terminal.
    """
    parts = load_parts(cfg)
    wanted = {part.name: list(dict.fromkeys(part.paths)) for part in parts}
    paths = list(dict.fromkeys(path for files in wanted.values() for path in files[:limit]))
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    facts = {fact.path: fact for fact in scan_images(paths, workers, progress)}
    for part in parts:
        part.facts = {path: facts[path] for path in wanted[part.name][:limit]}
    total = len({path for files in wanted.values() for path in files})
    return Report(title, parts, find_all(parts), advise(parts[0], cfg), (len(paths), total))
