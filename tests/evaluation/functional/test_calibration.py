from itertools import pairwise

import numpy as np
import pytest

from ltmm.evaluation.functional import calibration_bins, expected_calibration_error, maximum_calibration_error


def test_bins_equal_a_loop():
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.random(200), np.linspace(0, 1, 16)])
    correct = rng.random(216) < confidence
    bins = calibration_bins(confidence, correct, num_bins=15)
    edges = np.linspace(0, 1, 16)
    gaps = []
    for b, (low, high) in enumerate(pairwise(edges)):
        inside = (confidence > low) & (confidence <= high)
        assert bins.count[b] == inside.sum()
        gaps += [abs(confidence[inside].mean() - correct[inside].mean())] * inside.sum()
    assert expected_calibration_error(bins) == pytest.approx(np.mean(gaps))
    assert maximum_calibration_error(bins) == pytest.approx(max(gaps))


def test_zero_confidence_is_in_no_bin_and_an_empty_bin_has_no_gap():
    bins = calibration_bins([0.0, 0.5, 1.0], [False, True, True], num_bins=4)
    assert bins.count.tolist() == [0, 1, 0, 1]
    assert bins.gap.tolist() == [0, 0.5, 0, 0]


@pytest.mark.parametrize('bad', [1.5, -0.1, float('nan')])
def test_confidence_that_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match=r'Expected `confidence` to be in \[0, 1\]'):
        calibration_bins([0.5, bad], [True, True], 15)
