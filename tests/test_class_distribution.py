import json

import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets import class_distribution_of

COUNTS = [500, 100, 20, 5, 0]
NAMES = ['dog', 'cat', 'fox', 'emu', 'kea']


@pytest.fixture
def distribution() -> ClassDistribution:
    return ClassDistribution(COUNTS, class_names=NAMES)


def test_prior(distribution):
    np.testing.assert_allclose(distribution.prior, np.array(COUNTS) / 625)
    assert distribution.log_prior[-1] == -np.inf
    assert np.isfinite(distribution.log_prior[:-1]).all()


@pytest.mark.parametrize('beta', [0.0, 0.9, 0.9999])
def test_effective_number(distribution, beta):
    naive = [sum(beta**i for i in range(n)) for n in COUNTS]
    np.testing.assert_allclose(distribution.effective_number(beta), naive, rtol=1e-12)


@pytest.mark.parametrize(
    'kind, options, rarity',
    [
        ('inverse', {}, lambda n: n),
        ('inverse', dict(power=0.3), lambda n: n**0.3),
        ('sqrt_inverse', {}, lambda n: n**0.5),
        ('effective_number', dict(beta=0.99), lambda n: 1 - 0.99**n),
    ],
)
def test_weights(distribution, kind, options, rarity):
    weights = distribution.weights(kind, **options)
    naive = np.array([1 / rarity(n) for n in COUNTS[:-1]])
    np.testing.assert_allclose(weights[:-1], naive / naive.mean(), rtol=1e-9)
    assert weights[-1] == 0


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(kind='inverted'), '`kind`'),
        (dict(kind='inverse', beta=0.9), '`beta` belongs to'),
        (dict(kind='effective_number'), '`beta` belongs to'),
        (dict(kind='effective_number', beta=1.0), '`beta`'),
        (dict(kind='sqrt_inverse', power=2), '`power` belongs to'),
        (dict(kind='inverse', power=-1), '`power`'),
    ],
)
def test_invalid_weights(distribution, options, message):
    with pytest.raises(ValueError, match=message):
        distribution.weights(**options)


def test_shots(distribution):
    assert distribution.shots().names() == ['many', 'medium', 'medium', 'few', 'few']
    assert distribution.shots(inclusive=True).names() == ['many', 'many', 'few', 'few', 'few']


def test_ranked_shots():
    distribution = ClassDistribution([5, 9, 5, 9, 1])
    assert distribution.ranked_shots(many=1, few=2).names() == ['medium', 'many', 'few', 'medium', 'few']


def test_repeat_factors():
    distribution = ClassDistribution([90, 9, 1, 0], num_images=100)
    np.testing.assert_allclose(distribution.repeat_factors(0.36), [1, 2, 6, 1])
    np.testing.assert_allclose(distribution.repeat_factors(0.36, power=1), [1, 4, 36, 1])
    with pytest.raises(ValueError, match='`threshold`'):
        distribution.repeat_factors(0)


def test_imbalance_factor_and_gini(distribution):
    assert distribution.imbalance_factor == 100
    n = np.array(COUNTS)
    naive = np.abs(n[:, None] - n[None]).sum() / (2 * len(n) * n.sum())
    assert distribution.gini == pytest.approx(naive)
    assert ClassDistribution([7, 7, 7]).gini == 0


CO_OCCURRENCE = dict(instance_counts=[3, 2], num_images=4)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(instance_counts=[3, -1]), 'got -1 for class 1'),
        (dict(instance_counts=[3, 0.5]), '0.5 for class 1'),
        (dict(instance_counts=[3, float('nan')]), 'nan for class 1'),
        (dict(instance_counts=[0, 0]), 'all 2 are zero'),
        (dict(instance_counts=[]), r'shape \(C,\)'),
        (dict(instance_counts=[[1, 2]]), r'shape \(1, 2\)'),
        (dict(instance_counts=['many']), 'list of numbers'),
        (dict(instance_counts=[10**400, 1]), 'list of numbers'),
        (dict(instance_counts=[1e30, 1]), r'int in \[0, 1e12\], but got 1e\+30 for class 0'),
        (dict(instance_counts=[3, 2], image_counts=[3]), 'as `instance_counts`, 2, but got 1 and 2'),
        (dict(instance_counts=[3, 2], class_names=['a']), 'as `instance_counts`, 2, but got 2 and 1'),
        (dict(instance_counts=[9, 1], num_images=8), '`num_images` to be >= 9'),
        (dict(CO_OCCURRENCE, co_occurrence=[[3, 1, 0], [1, 2, 0]]), r'shape \(2, 2\), but got shape \(2, 3\)'),
        (dict(CO_OCCURRENCE, co_occurrence=[[3, 1], [0, 2]]), 'symmetric'),
        (dict(CO_OCCURRENCE, co_occurrence=[[3, 1], [1, 3]]), 'on its diagonal'),
    ],
)
def test_invalid_counts(arguments, message):
    with pytest.raises(ClassDistributionError, match=message):
        ClassDistribution(**arguments)


@pytest.mark.parametrize(
    'counts, message',
    [
        (dict(zip([*NAMES, 'yak'], [*COUNTS, 1])), "'yak' .*Valid names: dog, cat"),
        (dict(zip(NAMES[:-1], COUNTS[:-1])), "'kea' is unknown or missing"),
        (dict(zip([*NAMES[:-1], 'Kea'], COUNTS)), "'Kea' is unknown or missing. Did you mean kea"),
        ([3, 2, 1], '`class_counts` to have 5 entries, but got 3'),
    ],
)
def test_invalid_build(counts, message):
    with pytest.raises(ClassDistributionError, match=message):
        ClassDistribution.build(counts, NAMES)


def test_build(tmp_path, distribution):
    assert ClassDistribution.build(dict(zip(NAMES[::-1], COUNTS[::-1])), NAMES) == distribution
    np.save(tmp_path / 'counts.npy', np.array(COUNTS))
    (tmp_path / 'list.json').write_text(json.dumps(COUNTS))
    (tmp_path / 'full.json').write_text(json.dumps(distribution.to_dict()))
    (tmp_path / 'by_name.json').write_text(json.dumps(dict(zip(NAMES[::-1], COUNTS[::-1]))), encoding='utf-8-sig')
    backwards = ClassDistribution.build(distribution.to_dict(), None).in_label_order(NAMES[::-1])
    (tmp_path / 'backwards.json').write_text(json.dumps(backwards.to_dict()))
    (tmp_path / 'broken.json').write_text('[500, 100')
    (tmp_path / 'twice.json').write_text('{"dog": 5, "cat": 3, "dog": 4}')
    assert backwards.instance_counts.tolist() == COUNTS[::-1]
    for source in ('counts.npy', 'list.json', 'full.json', 'by_name.json', 'backwards.json', backwards):
        source = source if source is backwards else tmp_path / source
        assert ClassDistribution.build(source, NAMES) == distribution
    with pytest.raises(ClassDistributionError, match="'dog' occurs twice"):
        ClassDistribution.build(tmp_path / 'twice.json')
    with pytest.raises(ClassDistributionError, match='broken.json'):
        ClassDistribution.build(str(tmp_path / 'broken.json'))
    with pytest.raises(FileNotFoundError, match='absent.json'):
        ClassDistribution.build(tmp_path / 'absent.json')
    with pytest.raises(ClassDistributionError, match='.json or .npy'):
        (tmp_path / 'counts.txt').write_text('1')
        ClassDistribution.build(tmp_path / 'counts.txt')


def test_from_labels():
    labels = np.repeat([2, 0, 1], [3, 500, 40])
    for got in (ClassDistribution.from_labels(labels.tolist()), ClassDistribution.from_labels(torch.tensor(labels))):
        assert got == ClassDistribution([500, 40, 3])
    assert ClassDistribution.from_labels(labels, 4).instance_counts.tolist() == [500, 40, 3, 0]
    assert ClassDistribution.from_labels(labels, class_names='abc').name_of(0) == 'a (0)'
    for wrong, message in (
        (dict(labels=labels, num_classes=2), r'labels in \[0, 2\)'),
        (dict(labels=[0.5, 1.2]), 'integers of shape'),
        (dict(labels=[]), 'integers of shape'),
    ):
        with pytest.raises(ClassDistributionError, match=message):
            ClassDistribution.from_labels(**wrong)


@pytest.mark.parametrize('labels', [[0, 0, 0, 1, 1, 2] * 10, np.repeat(range(10), 30), torch.arange(100) % 4])
def test_labels_are_no_counts(labels):
    with pytest.raises(ClassDistributionError, match='from_labels'):
        ClassDistribution.build(labels)


@pytest.mark.parametrize(
    'counts', [[2, 1, 0], [2, 1, 1, 0, 0, 0], [0, 5, 0, 9], [5] * 100, [3, 1, 1, 1, 1, 1], [*range(50)]]
)
def test_counts_are_no_labels(counts):
    assert ClassDistribution.build(counts).instance_counts.tolist() == counts


def test_label_order_of_all_fields():
    distribution = ClassDistribution([5, 2], [3, 2], 4, ('b', 'a'), [[3, 1], [1, 2]]).in_label_order(['a', 'b'])
    assert distribution == ClassDistribution([2, 5], [2, 3], 4)
    assert distribution.co_occurrence.tolist() == [[2, 1], [1, 3]]
    assert distribution.class_names == ('a', 'b')


def test_table():
    table = ClassDistribution(range(1, 101)).table(max_rows=10)
    assert '(91 more)' in table
    assert len(table.splitlines()) == 12
    assert '0 many (> 100), 81 medium, 19 few (< 20);' in table


def test_one_vocabulary_per_table():
    distribution = ClassDistribution([300, 15, 10])
    shots, lvis = (distribution.table(groups=groups) for groups in ('shots', 'lvis'))
    for word in ('many', 'medium', 'few', 'shot'):
        assert word in shots and word not in lvis
    assert '1 frequent (> 100), 1 common, 1 rare (<= 10)' in lvis
    assert '1 head (>= 100), 0 medium, 2 tail (< 20)' in distribution.summary('multi_label')
    assert [row['frequency'] for row in distribution.rows('lvis')] == ['frequent', 'common', 'rare']


def test_equality(distribution):
    assert distribution == ClassDistribution(COUNTS)
    assert distribution != ClassDistribution(COUNTS, num_images=1000)


def test_co_occurrence():
    matrix = [[3, 1], [1, 2]]
    distribution = ClassDistribution([3, 2], num_images=4, co_occurrence=matrix)
    again = ClassDistribution.build(json.loads(json.dumps(distribution.to_dict())))
    assert again.co_occurrence.tolist() == matrix
    assert ClassDistribution([3, 2]).co_occurrence is None
    for array in (distribution.instance_counts, distribution.co_occurrence):
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 9


def test_image_groups():
    distribution = ClassDistribution([9, 10, 11, 100, 101, 0], num_images=200)
    assert distribution.image_groups((10, 100)).tolist() == [0, 0, 1, 1, 2, 0]
    assert distribution.lvis_frequency.tolist() == ['r', 'r', 'c', 'c', 'f', 'r']
    with pytest.raises(ValueError, match='ascending'):
        distribution.image_groups((100, 100))


def test_get_class_distribution():
    whole = ClassDistribution([5, 1])

    class Part:
        def get_class_distribution(self):
            return whole

    assert class_distribution_of(Part()) is whole


@pytest.mark.parametrize('source, problem', [('auto', 'auto does not exist'), ('.', r'\. is a folder')])
def test_counts_of_a_path_without_a_file(source, problem):
    with pytest.raises(FileNotFoundError, match=rf'Expected class counts as a list, .* but the file {problem}\.'):
        ClassDistribution.build(source)
