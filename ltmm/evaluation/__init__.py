"""Metrics, the functions behind them, and per-class reports.

``from ltmm.evaluation import X`` finds X in the modules below, and imports one only when something in it is needed:
``ltmm.evaluation.lvis`` needs neither torch nor mmpretrain nor mmdet, all but the metrics of MMEngine only torch.
"""

from ltmm.utils.lazy import lazy_attributes

MODULES = ('functional', 'reports', 'tensors', 'metrics')
__getattr__ = lazy_attributes(__name__, [f'{__name__}.{module}' for module in MODULES])
