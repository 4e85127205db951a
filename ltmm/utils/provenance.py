"""What a figure was measured with, for tables of results."""

import contextlib
import os
import re
import subprocess
from pathlib import Path

import ltmm

__all__ = ['commit', 'hardware']


def hardware() -> str:
    """The GPU, or the CPU and how many of its cores may be used."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = f'{len(os.sched_getaffinity(0))} cores'
    with contextlib.suppress(OSError):
        if found := re.search(r'model name\s*:\s*(.+)', Path('/proc/cpuinfo').read_text()):
            return f'{found[1]}, {cores}'
    return f'CPU, {cores}'


def commit() -> str:
    """Of the checkout ltmm is imported from, with ``-dirty`` where files differ from it; else the version of ltmm."""
    git = ['git', '-C', str(Path(ltmm.__file__).parent), 'describe', '--always', '--dirty', '--exclude=*']
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ltmm.__version__
