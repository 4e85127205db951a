"""Hardware and commit of a measurement, for tables of results."""

import contextlib
import os
import re
import subprocess
from pathlib import Path

import ltmm

__all__ = ['commit', 'hardware']


def hardware() -> str:
    """Return the name of the GPU, or of the CPU with the number of usable cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = f'{len(os.sched_getaffinity(0))} cores'
    with contextlib.suppress(OSError):
        if found := re.search(r'model name\s*:\s*(.+)', Path('/proc/cpuinfo').read_text()):
            return f'{found[1]}, {cores}'
    return f'CPU, {cores}'


def commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` after local changes; without git, the version of ltmm."""
    git = ['git', '-C', str(Path(ltmm.__file__).parent), 'describe', '--always', '--dirty', '--exclude=*']
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ltmm.__version__
