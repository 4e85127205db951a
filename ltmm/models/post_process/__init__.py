from ltmm.utils.environment import mmdet_is_usable

from .base import PostProcess, linear_layer
from .conformal_sets import ConformalSets, class_quantiles, conformal_quantile, nonconformity
from .ensemble_temperature_scaling import EnsembleTemperatureScaling
from .generalized_logit_adjustment import (
    GeneralizedLogitAdjustment,
    estimate_prior,
    generalized_logit_adjustment,
)
from .histogram_binning import HistogramBinning
from .importance_weighted_temperature_scaling import ImportanceWeightedTemperatureScaling
from .isotonic_calibration import IsotonicCalibration
from .logit_adjustment import LogitAdjustment, adjust_logits
from .logit_files import read_labelled_logits, read_logits
from .nearest_class_mean import NearestClassMean
from .score_calibration import ScoreCalibration
from .tau_norm import TauNorm, tau_normalize
from .temperature_scaling import TemperatureScaling, fit_temperature
from .total_direct_effect import TotalDirectEffect

if mmdet_is_usable():
    from .detector_correction import DetectorCorrection
    from .fracal import *
    from .logn import *
    from .norcal import *

__all__ = [
    'ConformalSets',
    'EnsembleTemperatureScaling',
    'GeneralizedLogitAdjustment',
    'HistogramBinning',
    'ImportanceWeightedTemperatureScaling',
    'IsotonicCalibration',
    'LogitAdjustment',
    'NearestClassMean',
    'PostProcess',
    'ScoreCalibration',
    'TauNorm',
    'TemperatureScaling',
    'TotalDirectEffect',
    'adjust_logits',
    'class_quantiles',
    'conformal_quantile',
    'estimate_prior',
    'fit_temperature',
    'generalized_logit_adjustment',
    'linear_layer',
    'nonconformity',
    'read_labelled_logits',
    'read_logits',
    'tau_normalize',
]
