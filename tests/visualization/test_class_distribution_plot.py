import numpy as np
import pytest
from PIL import Image

from ltmm import ClassDistribution
from ltmm.visualization import plot_class_distribution


def ink(path):
    """Pixels that are close to black."""
    return (np.asarray(Image.open(path).convert('L')) < 60).sum()


@pytest.mark.parametrize(
    'distribution',
    [
        ClassDistribution([500, 60, 5]),
        ClassDistribution([500, 60, 0]),
        ClassDistribution([7]),
        ClassDistribution(np.geomspace(1000, 2, 8142).astype(int)),
        ClassDistribution([900, 50, 9], [500, 20, 3], 510),
    ],
    ids=['single label', 'empty class', 'one class', 'many classes', 'detection'],
)
def test_plot_is_drawn(tmp_path, distribution):
    path = plot_class_distribution(distribution, tmp_path / 'classes.png', title='toy')
    assert Image.open(path).size == (1050, 630)
    assert ink(path) > 2000


def test_shots_of_another_convention_are_shaded(tmp_path):
    distribution = ClassDistribution([500, 100, 5])
    usual = plot_class_distribution(distribution, tmp_path / 'a.png')
    oltr = plot_class_distribution(distribution, tmp_path / 'b.png', shots=distribution.shots(inclusive=True))
    assert not np.array_equal(np.asarray(Image.open(usual)), np.asarray(Image.open(oltr)))


def test_unknown_file_format(tmp_path):
    with pytest.raises(ValueError, match='Expected `suffix` .*xyz'):
        plot_class_distribution(ClassDistribution([3, 2]), tmp_path / 'classes.xyz')
