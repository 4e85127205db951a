"""Metrics, the functions behind them, and per-class reports.

The metrics of MMEngine are imported on first use: everything else needs only torch, numpy and mmengine.
"""

from importlib import import_module
from typing import Any

from .functional import *
from .reports import *
from .tensors import *


def __getattr__(name: str) -> Any:
    if name == 'metrics' or name.startswith('__'):  # the import system asks for both
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        return getattr(import_module('ltmm.evaluation.metrics'), name)
    except AttributeError:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}') from None
