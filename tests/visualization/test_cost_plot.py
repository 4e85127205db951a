import numpy as np
import pytest
from PIL import Image

from ltmm.visualization import plot_accuracy_against_cost
from ltmm.visualization.cost_plot import pareto_front
from ltmm.visualization.style import RUN_COLORS


@pytest.mark.parametrize(
    ('cost', 'accuracy', 'front'),
    [
        ((1, 2, 3), (10, 20, 30), [0, 1, 2]),
        ((3, 1, 2), (30, 10, 9), [1, 0]),
        ((1, 1, 1), (10, 30, 20), [1]),
        ((1, 2, 4), (10, 10, 10), [0]),  # as good for more
    ],
)
def test_pareto_front(cost, accuracy, front):
    assert pareto_front(np.array(cost, float), np.array(accuracy, float)).tolist() == front


def test_only_beaten_methods_are_gray(tmp_path):
    def pixels(points, color):
        image = np.asarray(Image.open(plot_accuracy_against_cost(points, tmp_path / 'cost.png', 'ce')).convert('RGB'))
        return (image.reshape(-1, 3) == color).all(1).sum()

    best = dict(ce=(1.0, 20.0, 0.5), experts=(3.0, 30.0, 1.0))
    blue = [int(RUN_COLORS[0][i : i + 2], 16) for i in (1, 3, 5)]
    assert pixels(best, blue) > 100
    assert pixels(best | dict(slow=(2.0, 15.0, 0.0)), 153) > pixels(best, 153) + 20


def test_no_methods(tmp_path):
    with pytest.raises(ValueError, match='at least one method'):
        plot_accuracy_against_cost({}, tmp_path / 'cost.png', 'ce')


def test_axis_names_the_baseline(tmp_path):
    text = plot_accuracy_against_cost(dict(ce=(1.0, 20.0, 0.5)), tmp_path / 'cost.svg', 'ce').read_text()
    assert 'time of training and test in units of ce' in text
