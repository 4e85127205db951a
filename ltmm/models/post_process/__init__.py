from .base import PostProcess, linear_layer
from .logit_adjustment import LogitAdjustment, adjust_logits
from .nearest_class_mean import NearestClassMean
from .norcal import NorCal, norcal_divisor, norcal_scores
from .tau_norm import TauNorm, tau_normalize
from .temperature_scaling import TemperatureScaling

__all__ = [
    'LogitAdjustment',
    'NearestClassMean',
    'NorCal',
    'PostProcess',
    'TauNorm',
    'TemperatureScaling',
    'adjust_logits',
    'linear_layer',
    'norcal_divisor',
    'norcal_scores',
    'tau_normalize',
]
