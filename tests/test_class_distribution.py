import json

import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets import class_distribution_of

COUNTS = [500, 100, 20, 5, 0]
NAMES = ['dog', 'cat', 'fox', 'emu', 'kea']


@pytest.fixture
def distribution() -> ClassDistribution:
    return ClassDistribution(COUNTS, class_names=NAMES)


def test_prior_and_log_prior_of_an_empty_class(distribution):
    np.testing.assert_allclose(distribution.prior, np.array(COUNTS) / 625)
    assert distribution.log_prior[-1] == -np.inf
    assert np.isfinite(distribution.log_prior[:-1]).all()


@pytest.mark.parametrize('beta', [0.0, 0.9, 0.9999])
def test_effective_number_equals_the_sum_of_powers(distribution, beta):
    naive = [sum(beta**i for i in range(n)) for n in COUNTS]
    np.testing.assert_allclose(distribution.effective_number(beta), naive, rtol=1e-12)


@pytest.mark.parametrize(
    'kind, options, scarcity',
    [
        ('inverse', {}, lambda n: n),
        ('inverse', dict(power=0.3), lambda n: n**0.3),
        ('sqrt_inverse', {}, lambda n: n**0.5),
        ('effective_number', dict(beta=0.99), lambda n: 1 - 0.99**n),
    ],
)
def test_weights_have_mean_one_over_the_classes_that_occur(distribution, kind, options, scarcity):
    weights = distribution.weights(kind, **options)
    naive = np.array([1 / scarcity(n) for n in COUNTS[:-1]])
    np.testing.assert_allclose(weights[:-1], naive / naive.mean(), rtol=1e-9)
    assert weights[-1] == 0


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(kind='inverted'), "one of .*'inverse'"),
        (dict(kind='inverse', beta=0.9), '`beta` belongs to'),
        (dict(kind='effective_number'), '`beta` belongs to'),
        (dict(kind='effective_number', beta=1.0), r'\[0, 1\), but got 1.0'),
        (dict(kind='sqrt_inverse', power=2), '`power` belongs to'),
    ],
)
def test_weights_refuse_what_they_cannot_mean(distribution, options, message):
    with pytest.raises(ValueError, match=message):
        distribution.weights(**options)


def test_shots_are_strict_by_default_and_inclusive_on_request(distribution):
    assert distribution.shots().names() == ['many', 'medium', 'medium', 'few', 'few']
    assert distribution.shots(inclusive=True).names() == ['many', 'many', 'few', 'few', 'few']


def test_ranked_shots_break_ties_by_label():
    distribution = ClassDistribution([5, 9, 5, 9, 1])
    assert distribution.ranked_shots(many=1, few=2).names() == ['medium', 'many', 'few', 'medium', 'few']


def test_lvis_frequency_borders():
    assert ClassDistribution([10, 11, 100, 101]).lvis_frequency.tolist() == ['r', 'c', 'c', 'f']


def test_repeat_factors_are_at_least_one_and_one_for_an_empty_class():
    distribution = ClassDistribution([90, 9, 1, 0], num_images=100)
    np.testing.assert_allclose(distribution.repeat_factors(0.36), [1, 2, 6, 1])
    np.testing.assert_allclose(distribution.repeat_factors(0.36, power=1), [1, 4, 36, 1])
    with pytest.raises(ValueError, match='share of the images'):
        distribution.repeat_factors(0)


def test_imbalance_factor_and_gini(distribution):
    assert distribution.imbalance_factor == 100
    n = np.array(COUNTS)
    naive = np.abs(n[:, None] - n[None]).sum() / (2 * len(n) * n.sum())
    assert distribution.gini == pytest.approx(naive)
    assert ClassDistribution([7, 7, 7]).gini == 0


@pytest.mark.parametrize(
    'counts, message',
    [
        ([3, -1], 'whole numbers >= 0, but got -1 for class 1'),
        ([3, 0.5], 'got 0.5 for class 1'),
        ([3, float('nan')], 'got nan for class 1'),
        ([0, 0], 'all 2 are zero'),
        ([], r'shape \(C,\)'),
        ([[1, 2]], r'got shape \(1, 2\)'),
        (['many'], 'list of numbers'),
    ],
)
def test_counts_that_cannot_be_counts(counts, message):
    with pytest.raises(ClassDistributionError, match=message):
        ClassDistribution(counts)


def test_more_images_of_a_class_than_images():
    with pytest.raises(ClassDistributionError, match='at least the largest image count 9'):
        ClassDistribution([9, 1], num_images=8)


def test_counts_cannot_be_changed(distribution):
    with pytest.raises(ValueError, match='read-only'):
        distribution.instance_counts[0] = 1


def test_build_from_names_puts_them_in_label_order():
    built = ClassDistribution.build(dict(zip(NAMES[::-1], COUNTS[::-1])), NAMES)
    assert built.instance_counts.tolist() == COUNTS


@pytest.mark.parametrize(
    'counts, message',
    [
        (dict(zip([*NAMES, 'yak'], [*COUNTS, 1])), "'yak' .1 unknown in all.*dog, cat"),
        (dict(zip(NAMES[:-1], COUNTS[:-1])), "1 are missing, 'kea' first"),
    ],
)
def test_build_from_unknown_and_missing_names(counts, message):
    with pytest.raises(ClassDistributionError, match=message):
        ClassDistribution.build(counts, NAMES)


def test_build_from_files(tmp_path, distribution):
    np.save(tmp_path / 'counts.npy', np.array(COUNTS))
    (tmp_path / 'list.json').write_text(json.dumps(COUNTS))
    (tmp_path / 'full.json').write_text(json.dumps(distribution.to_dict()))
    (tmp_path / 'broken.json').write_text('[500, 100')
    for name in ('counts.npy', 'list.json', 'full.json'):
        assert ClassDistribution.build(tmp_path / name, NAMES) == distribution
    with pytest.raises(ClassDistributionError, match='broken.json'):
        ClassDistribution.build(str(tmp_path / 'broken.json'))
    with pytest.raises(FileNotFoundError, match='absent.json'):
        ClassDistribution.build(tmp_path / 'absent.json')
    with pytest.raises(ClassDistributionError, match='.json or .npy'):
        (tmp_path / 'counts.txt').write_text('1')
        ClassDistribution.build(tmp_path / 'counts.txt')


def test_table_hides_the_middle_and_says_how_much():
    table = ClassDistribution(range(1, 101)).table(max_rows=10)
    assert '(91 more)' in table
    assert len(table.splitlines()) == 12


def test_equality_is_by_counts_and_images(distribution):
    assert distribution == ClassDistribution(COUNTS)
    assert distribution != ClassDistribution(COUNTS, num_images=1000)


def test_build_from_too_few_counts_names_the_argument():
    with pytest.raises(ClassDistributionError, match='`class_counts` to have 5 entries, one a class.*but got 3'):
        ClassDistribution.build([3, 2, 1], NAMES)


def test_co_occurrence_is_read_only_and_survives_json():
    matrix = [[3, 1], [1, 2]]
    distribution = ClassDistribution([3, 2], num_images=4, co_occurrence=matrix)
    again = ClassDistribution.build(json.loads(json.dumps(distribution.to_dict())))
    assert again.co_occurrence.tolist() == matrix
    assert ClassDistribution([3, 2]).co_occurrence is None
    with pytest.raises(ValueError, match='read-only'):
        distribution.co_occurrence[0, 0] = 9


@pytest.mark.parametrize(
    'matrix, message',
    [
        ([[3, 1, 0], [1, 2, 0]], r'to be of shape \(2, 2\), but got shape \(2, 3\)'),
        ([[3, 1], [0, 2]], 'a symmetric matrix of counts with `image_counts` on its diagonal'),
        ([[3, 1], [1, 3]], 'on its diagonal'),
    ],
)
def test_a_co_occurrence_that_contradicts_the_counts_is_refused(matrix, message):
    with pytest.raises(ClassDistributionError, match=message):
        ClassDistribution([3, 2], num_images=4, co_occurrence=matrix)


def test_groups_count_the_bounds_that_are_exceeded():
    distribution = ClassDistribution([9, 10, 11, 100, 101, 0], num_images=200)
    assert distribution.image_groups((10, 100)).tolist() == [0, 0, 1, 1, 2, 0]
    letters = {0: 'r', 1: 'c', 2: 'f'}
    assert [letters[group] for group in distribution.image_groups((10, 100))] == distribution.lvis_frequency.tolist()
    with pytest.raises(ValueError, match=r'bounds of groups in ascending order, but got \(100, 100\)'):
        distribution.image_groups((100, 100))


def test_a_part_of_the_data_that_knows_the_whole_says_so():
    whole = ClassDistribution([5, 1])

    class Part:
        def get_class_distribution(self):
            return whole

    assert class_distribution_of(Part()) is whole
