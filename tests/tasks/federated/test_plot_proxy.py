"""Picture of estimated and true class counts."""

import numpy as np
import pytest

from ltmm.tasks.federated import plot_proxy
from ltmm.utils.errors import InputError


def test_picture_sorts_classes_by_frequency(tmp_path):
    true = np.array([[1, 20, 5], [0, 9, 6]])
    figure = plot_proxy(true, true, tmp_path / 'proxy.png')
    assert (tmp_path / 'proxy.png').stat().st_size > 1000
    (axes,) = (axes for axes in figure.axes if 'cosine' in axes.get_title())
    assert '1.00' in axes.get_title()
    assert [line.get_ydata().tolist() for line in axes.lines] == [[29, 11, 1], [29, 11, 1]]


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r'\(2, 3\) and \(2, 2\)'):
        plot_proxy(np.ones((2, 3)), np.ones((2, 2)))
