import numpy as np
import pytest

from ltmm.evaluation.functional import open_set_accuracy, open_set_f_measure, reject_uncertain

#                right, wrong, rejected, rejected unknown, accepted unknown
PRED = np.array([0, 1, 2, 0, -1, -1, 1])
LABEL = np.array([0, 1, 2, 1, 2, -1, -1])


def test_f_measure_counts_by_hand():
    precision, recall = 3 / 4, 3 / 4  # a wrong one; an unknown one taken for known
    assert open_set_f_measure(PRED, LABEL, count_rejects=False) == pytest.approx(0.75)
    precision = 3 / 5  # the rejected known one too
    expected = 2 * precision * recall / (precision + recall)
    assert open_set_f_measure(PRED, LABEL, count_rejects=True) == pytest.approx(expected)


def test_f_measure_without_a_right_prediction_is_zero():
    assert open_set_f_measure([1, -1], [0, -1], count_rejects=True) == 0


def test_accuracy_is_over_unknown_samples_only():
    assert open_set_accuracy(PRED, LABEL) == 0.5
    assert np.isnan(open_set_accuracy([0], [0]))


def test_confidence_at_the_threshold_is_kept():
    assert reject_uncertain([4, 5, 6], [0.29, 0.3, 0.31], 0.3).tolist() == [-1, 5, 6]
