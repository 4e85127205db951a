"""Metrics, the functions behind them, and per-class reports.

The metrics of MMEngine are imported on first use: everything else needs only torch, numpy and mmengine.
"""

from ltmm.utils.lazy import lazy_attributes

from .functional import *
from .reports import *
from .tensors import *

__getattr__ = lazy_attributes(__name__, ['ltmm.evaluation.metrics'])
