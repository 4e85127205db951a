import numpy as np
import pytest

from ltmm.utils.errors import InputError
from ltmm.utils.shots import group_classes
from ltmm.visualization import plot_features

NAMES = tuple(f'kind {c}' for c in range(12))


def svg(tmp_path, num_classes, panels=('before', 'after')):
    label = np.repeat(np.arange(num_classes), 4)
    shots = group_classes(np.geomspace(500, 5, num_classes), (100, 20))
    points = {name: np.random.default_rng(i).normal(size=(len(label), 2)) for i, name in enumerate(panels)}
    return plot_features(points, label, shots, tmp_path / 'features.svg', 'the title', NAMES).read_text()


@pytest.mark.parametrize(('num_classes', 'named'), [(3, True), (10, True), (11, False)])
def test_few_classes_have_markers(tmp_path, num_classes, named):
    text = svg(tmp_path, num_classes)
    assert all((f'<!-- {name} -->' in text) == named for name in NAMES[:num_classes])
    for part in ('before', 'after', 'the title'):
        assert f'<!-- {part} -->' in text
    shots = group_classes(np.geomspace(500, 5, num_classes), (100, 20))
    assert all(f'<!-- {group}-shot, {mask.sum()} classes -->' in text for group, mask in shots.items())
    markers = text.count('<use ') if named else 0
    assert not named or markers >= 2 * 4 * num_classes


def test_points_of_other_images(tmp_path):
    shots = group_classes(np.array([50, 5]), (100, 20))
    with pytest.raises(InputError, match=r"shape \(3, 2\) in 'after', but got \(2, 2\)"):
        plot_features(dict(after=np.zeros((2, 2))), np.array([0, 1, 1]), shots, tmp_path / 'features.png')
