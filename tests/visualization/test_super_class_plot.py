import numpy as np
import pytest
from matplotlib.axes import Axes

from ltmm import ClassDistribution
from ltmm.utils.errors import InputError
from ltmm.visualization import plot_super_classes

DISTRIBUTION = ClassDistribution([5, 200, 40], class_names=('emu', 'cat', 'dog'))


def test_shares_over_their_mean(tmp_path, monkeypatch):
    drawn, imshow = [], Axes.imshow
    monkeypatch.setattr(Axes, 'imshow', lambda self, x, **kwargs: drawn.append(x) or imshow(self, x, **kwargs))
    links = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    label = np.array([1, 1, 0, 2])
    path = plot_super_classes(links, label, DISTRIBUTION, tmp_path / 'new/super.png')
    assert path.stat().st_size > 1000
    first = np.array([0.8, 0.6, 0.2])  # of cat, dog, emu: most frequent first
    np.testing.assert_allclose(drawn[0], [first / first.mean(), (1 - first) / (1 - first).mean()])


def test_other_shapes(tmp_path):
    with pytest.raises(InputError, match=r'`links` \(N, K\) and `label` \(N,\), but got \(4, 2\) and \(3,\)'):
        plot_super_classes(np.ones((4, 2)), np.zeros(3, dtype=int), DISTRIBUTION, tmp_path / 'a.png')
