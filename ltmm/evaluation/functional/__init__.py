"""The mathematics of the metrics: pure functions of arrays. Figures are shares in [0, 1]."""

from .calibration import CalibrationBins, calibration_bins, expected_calibration_error, maximum_calibration_error
from .class_scores import ClassScores, class_scores, geometric_mean, harmonic_mean, label_ranks
from .open_set import open_set_accuracy, open_set_f_measure, reject_uncertain
from .shots import SHOT_CONVENTIONS, mean_by_shot, shots_by_convention

__all__ = [
    'SHOT_CONVENTIONS',
    'CalibrationBins',
    'ClassScores',
    'calibration_bins',
    'class_scores',
    'expected_calibration_error',
    'geometric_mean',
    'harmonic_mean',
    'label_ranks',
    'maximum_calibration_error',
    'mean_by_shot',
    'open_set_accuracy',
    'open_set_f_measure',
    'reject_uncertain',
    'shots_by_convention',
]
