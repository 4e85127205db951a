import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation.functional import mean_by_shot, shots_by_convention

COUNTS = [200, 101, 100, 99, 21, 20, 19, 5]


@pytest.mark.parametrize(
    ('arguments', 'groups'),
    [
        (dict(convention='decoupling'), 'MMmmmmff'),
        (dict(convention='oltr'), 'MMMmmfff'),
        (dict(convention='decoupling', thresholds=(99, 6)), 'MMMmmmmf'),
        (dict(convention='oltr', thresholds=(99, 5)), 'MMMMmmmf'),
        (dict(convention='mislas', num_many=1, num_few=5), 'Mmmfffff'),
    ],
)
def test_groups_by_convention(arguments, groups):
    names = shots_by_convention(ClassDistribution(COUNTS), **arguments).names()
    assert names == [dict(M='many', m='medium', f='few')[g] for g in groups]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(convention='bbn'), r"one of \['decoupling', 'mislas', 'oltr'\], but got 'bbn'"),
        (dict(convention='mislas'), 'Expected `num_many` and `num_few`'),
        (dict(convention='mislas', num_many=1, num_few=1, thresholds=(9, 3)), r'thresholds=\(9, 3\)'),
        (dict(convention='oltr', thresholds=(100,)), r'two numbers of images, \(many, few\), but got \(100,\)'),
        (dict(convention='oltr', num_few=2), "belong to convention='mislas'"),
        (dict(convention='decoupling', thresholds=(20, 100)), 'few=100 and many=20'),
    ],
)
def test_invalid_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        shots_by_convention(ClassDistribution(COUNTS), **arguments)


def test_mean_by_shot_ignores_nan():
    shots = ClassDistribution([500, 400, 50]).shots()
    means = mean_by_shot(np.array([0.5, np.nan, 0.25]), shots)
    assert (means['many'], means['medium']) == (0.5, 0.25)
    assert np.isnan(means['few'])
