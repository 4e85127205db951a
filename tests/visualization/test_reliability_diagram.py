import numpy as np
import pytest
from PIL import Image

from ltmm.evaluation.functional import calibration_bins
from ltmm.visualization import plot_reliability_diagram
from ltmm.visualization.style import RUN_COLORS


def pixels_of(path, color):
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    return (np.abs(pixels - np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])).sum(1) < 10).sum()


def test_gap_is_drawn_where_there_is_one(tmp_path):
    confidence = np.repeat([0.3, 0.5, 0.9], 10)
    as_sure = np.tile(np.arange(10), 3) < np.repeat([3, 5, 9], 10)
    sure, unsure = (
        plot_reliability_diagram(calibration_bins(confidence, correct, 10), tmp_path / 'new' / f'{i}.png', title='toy')
        for i, correct in enumerate((as_sure, np.zeros(30, dtype=bool)))
    )
    accuracy, gap = RUN_COLORS[:2]
    assert pixels_of(sure, accuracy) > 5 * pixels_of(unsure, accuracy)
    assert pixels_of(unsure, gap) > 2 * pixels_of(sure, gap)


@pytest.mark.parametrize('confidence', [[1.0], [0.01, 0.5]], ids=['one image', 'mostly empty'])
def test_degenerate_bins_are_drawn(tmp_path, confidence):
    bins = calibration_bins(confidence, [True] * len(confidence), 1 if len(confidence) == 1 else 15)
    assert plot_reliability_diagram(bins, tmp_path / 'a.svg').stat().st_size > 1000
