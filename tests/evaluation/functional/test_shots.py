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
        (dict(convention='multi_label'), 'MMMmmmff'),
        (dict(thresholds=dict(rank=(1, 5))), 'Mmmfffff'),
        (dict(thresholds=dict(quantile=(2 / 3, 1 / 3))), 'MMMmmfff'),
        (dict(thresholds=dict(quantile=(0.5, 0.5))), 'MMMMffff'),
        (dict(thresholds=dict(quantile=(1, 0))), 'mmmmmmmm'),
        (dict(thresholds=dict(quantile=(1, 0)), convention='oltr'), 'Mmmmmmmf'),
        (dict(thresholds='auto'), 'MMmmmmff'),  # the default where it separates classes
    ],
)
def test_groups_by_convention(arguments, groups):
    names = shots_by_convention(ClassDistribution(COUNTS), **arguments).names()
    assert names == [dict(M='many', m='medium', f='few')[g] for g in groups]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(convention='bbn'), r"one of \['decoupling', 'mislas', 'multi_label', 'oltr'\], but got 'bbn'"),
        (dict(convention='mislas'), 'Expected `num_many` and `num_few`'),
        (dict(convention='mislas', num_many=1, num_few=1, thresholds=(9, 3)), r'thresholds=\(9, 3\)'),
        (dict(convention='oltr', thresholds=(100,)), r'two numbers of images, \(many, few\), dict.*but got \(100,\)'),
        (dict(thresholds='quantile'), "or 'auto', but got 'quantile'"),
        (dict(thresholds=dict(quantile=(0.5, 1.5))), r'`thresholds` to be in \[0, 1\]'),
        (dict(thresholds=dict(quantile=(0.2, 0.8))), 'few=0.8 and many=0.2'),
        (dict(thresholds=dict(quantile=(1, 0), rank=(1, 1))), "but got {'quantile'"),
        (dict(thresholds=dict(share=(1, 0))), "but got {'share'"),
        (dict(thresholds=dict(rank=(0.5, 0.5))), '`thresholds` to be int >= 0'),
        (dict(thresholds=dict(rank=(5, 5))), 'many \\+ few <= 8 classes, but got 5 \\+ 5'),
        (dict(thresholds=(100, float('nan'))), '`thresholds` to be >= 0'),
        (dict(convention='oltr', num_few=2), "belong to convention='mislas'"),
        (dict(convention='decoupling', thresholds=(20, 100)), 'few <= many, but got few=100 and many=20'),
    ],
)
def test_invalid_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        shots_by_convention(ClassDistribution(COUNTS), **arguments)


def test_auto_is_thirds_where_the_default_is_one_group():
    many = ClassDistribution([900, 800, 700, 600, 500, 400])
    assert shots_by_convention(many, thresholds='auto').names() == ['many'] * 2 + ['medium'] * 2 + ['few'] * 2
    few = ClassDistribution([9, 8, 7, 6, 5, 0])  # a class without images is few-shot, and not part of the quantiles
    assert shots_by_convention(few, thresholds='auto').names() == ['many'] * 2 + ['medium'] + ['few'] * 3


def test_ties():
    tied = ClassDistribution([9, 5, 5, 5, 5, 1])
    by_quantile = shots_by_convention(tied, thresholds=dict(quantile=(2 / 3, 1 / 3)))
    assert by_quantile.names() == ['many', 'medium', 'medium', 'medium', 'medium', 'few']  # equal counts, one group
    by_rank = shots_by_convention(tied, thresholds=dict(rank=(2, 2)))
    assert by_rank.names() == ['many', 'many', 'medium', 'medium', 'few', 'few']  # in the order of the labels


def test_one_warning_if_all_classes_are_in_one_group(monkeypatch):
    said = []
    monkeypatch.setattr('ltmm.evaluation.functional.shots.print_log', lambda message, *_: said.append(message))
    for _ in range(2):
        shots_by_convention(ClassDistribution([1234, 567, 321]))
    (message,) = said
    assert message.startswith('All 3 classes are many-shot')
    assert 'they have 321 to 1234 training images. Set `thresholds` of metrics' in message
    shots_by_convention(ClassDistribution([1235, 567, 321]), thresholds=(2000, 20))  # as asked
    shots_by_convention(ClassDistribution([1234, 567, 32]))
    assert said == [message]
    shots_by_convention(ClassDistribution([4, 4, 4]))  # no limits separate them
    assert said[1].endswith('they have 4 to 4 training images.')


def test_mean_by_shot_ignores_nan():
    shots = ClassDistribution([500, 400, 50]).shots()
    means = mean_by_shot(np.array([0.5, np.nan, 0.25]), shots)
    assert (means['many'], means['medium']) == (0.5, 0.25)
    assert np.isnan(means['few'])
