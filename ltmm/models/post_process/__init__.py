from ltmm.utils.environment import mmdet_is_usable

from .base import PostProcess, linear_layer
from .logit_adjustment import LogitAdjustment, adjust_logits
from .nearest_class_mean import NearestClassMean
from .tau_norm import TauNorm, tau_normalize
from .temperature_scaling import TemperatureScaling
from .total_direct_effect import TotalDirectEffect

if mmdet_is_usable():
    from .norcal import *

__all__ = [
    'LogitAdjustment',
    'NearestClassMean',
    'PostProcess',
    'TauNorm',
    'TemperatureScaling',
    'TotalDirectEffect',
    'adjust_logits',
    'linear_layer',
    'tau_normalize',
]
