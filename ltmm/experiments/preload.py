"""Imported by the server that runs are forked from: all packages of a training, without what they print."""

import contextlib
from importlib import import_module

from ltmm.registry import ALL_PACKAGES
from ltmm.utils.console import quiet_imports

with quiet_imports():
    for package in (*ALL_PACKAGES, 'ltmm.utils.configs', 'ltmm.utils.launch'):
        with contextlib.suppress(ImportError):  # without mmdet, a run of a classifier needs the others
            import_module(package)
