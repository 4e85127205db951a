import numpy as np
import pytest
from matplotlib.axes import Axes

from ltmm import ClassDistribution
from ltmm.evaluation.functional import SetCoverage
from ltmm.visualization import plot_coverage


def test_bars(tmp_path, monkeypatch):
    bars, bar = [], Axes.bar
    monkeypatch.setattr(
        Axes, 'bar', lambda self, x, height, *a, **k: bars.append(height) or bar(self, x, height, *a, **k)
    )
    one = SetCoverage(np.array([10, 10, 20]), np.array([9, 10, 10]), np.array([20, 30, 60]))
    shots = ClassDistribution([200, 150, 5]).shots()  # no medium-shot class
    path = plot_coverage({'one': one}, shots, 0.1, tmp_path / 'coverage.png')
    assert path.stat().st_size > 1000
    assert bars[0] == pytest.approx([100 * 29 / 40, 95, 50])
    assert bars[1] == pytest.approx([110 / 40, 2.5, 3])
