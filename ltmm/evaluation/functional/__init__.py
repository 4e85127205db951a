"""Pure functions behind the metrics; results are in [0, 1], not in percent."""

from .average_precision import average_precision
from .calibration import (
    CalibrationBins,
    adaptive_calibration_bins,
    brier_score,
    calibration_bins,
    class_wise_adaptive_calibration_bins,
    class_wise_calibration_bins,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)
from .class_scores import ClassScores, class_scores, geometric_mean, harmonic_mean, label_ranks
from .open_set import open_set_accuracy, open_set_f_measure, reject_uncertain
from .shots import SHOT_CONVENTIONS, mean_by_shot, shots_by_convention

__all__ = [
    'SHOT_CONVENTIONS',
    'CalibrationBins',
    'ClassScores',
    'adaptive_calibration_bins',
    'average_precision',
    'brier_score',
    'calibration_bins',
    'class_scores',
    'class_wise_adaptive_calibration_bins',
    'class_wise_calibration_bins',
    'expected_calibration_error',
    'geometric_mean',
    'harmonic_mean',
    'label_ranks',
    'maximum_calibration_error',
    'mean_by_shot',
    'negative_log_likelihood',
    'open_set_accuracy',
    'open_set_f_measure',
    'overconfidence_error',
    'reject_uncertain',
    'shots_by_convention',
]
