import math

import numpy as np
import pytest

from ltmm.datasets.samplers.repeat_factor_sampler import stochastic_round

LABELS = [[0], [0, 1], [0], [0, 2, 2], [1], [], [0], [0, 1], [0], [0]]
CONFIG = dict(type='ltmm.RepeatFactorSampler', labels=LABELS, num_classes=4, threshold=0.4)


def naive_factors(labels, threshold, power=0.5):
    share = {c: sum(c in sample for sample in labels) / len(labels) for sample in labels for c in sample}
    return [max([max(1.0, (threshold / share[c]) ** power) for c in sample], default=1.0) for sample in labels]


@pytest.mark.parametrize('options', [dict(), dict(power=1.0), dict(power=0.25)])
def test_factor_of_an_image_is_that_of_its_rarest_class(build, options):
    sampler = build(**CONFIG, **options)
    np.testing.assert_allclose(sampler.repeat_factors, naive_factors(LABELS, 0.4, **options), rtol=1e-12)
    assert sampler.repeat_factors[5] == 1  # no label


def test_ceil_repeats_every_image_alike_in_all_epochs(build):
    sampler = build(**CONFIG, rounding='ceil')
    expected = [math.ceil(factor) for factor in naive_factors(LABELS, 0.4)]
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert np.bincount(list(sampler), minlength=10).tolist() == expected


def test_stochastic_draws_the_fraction_anew_every_epoch(build):
    sampler = build(**CONFIG)
    epochs = []
    for epoch in range(2000):
        sampler.set_epoch(epoch)
        epochs.append(np.bincount(list(sampler), minlength=10))
    expected = sampler.repeat_factors * (len(sampler) / sampler.repeat_factors.sum())
    assert (np.floor(expected) <= epochs).all()
    assert (epochs <= np.ceil(expected)).all()
    np.testing.assert_allclose(np.mean(epochs, axis=0), expected, atol=5 * 0.5 / math.sqrt(2000))
    assert len(np.unique(epochs, axis=0)) > 3


def test_epochs_have_one_length(build):
    sampler = build(**CONFIG)
    assert len(sampler) == round(sum(naive_factors(LABELS, 0.4)))
    for epoch in range(20):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler)


@pytest.mark.parametrize('rounding', ['stochastic', 'ceil'])
@pytest.mark.parametrize('length', [4, 10, 35])
def test_a_length_of_its_own_scales_all_factors(build, rounding, length):
    sampler = build(**CONFIG, rounding=rounding, length=length)
    draws = np.array(naive_factors(LABELS, 0.4))
    draws = np.ceil(draws) if rounding == 'ceil' else draws
    total = np.zeros(10)
    for epoch in range(1000):
        sampler.set_epoch(epoch)
        total += np.bincount(list(sampler), minlength=10)
    np.testing.assert_allclose(total / 1000, draws / draws.sum() * length, atol=5 * 0.5 / math.sqrt(1000))


def test_stochastic_round_keeps_expectations_and_sum():
    rng = np.random.default_rng(0)
    expected = rng.random(50) * 3
    expected *= 80 / expected.sum()
    rounded = np.array([stochastic_round(expected, rng) for _ in range(4000)])
    assert (rounded.sum(axis=1) == 80).all()
    assert (np.abs(rounded - expected) < 1).all()
    np.testing.assert_allclose(rounded.mean(axis=0), expected, atol=5 * 0.5 / math.sqrt(4000))


def test_stochastic_round_ties_no_two_numbers_to_each_other():
    rng = np.random.default_rng(0)
    rounded = np.array([stochastic_round(np.full(4, 0.5), rng) for _ in range(200)])
    assert len(np.unique(rounded, axis=0)) == 6  # all ways to round two of four up


def test_stochastic_round_leaves_whole_numbers_alone():
    expected = np.array([0.0, 3.0, 1.0, 7.0])
    np.testing.assert_array_equal(stochastic_round(expected, np.random.default_rng(0)), expected)


def test_stochastic_round_keeps_a_long_sum():
    expected = np.random.default_rng(0).random(300_000)
    expected *= 150_000 / expected.sum()
    for seed in range(5):
        assert stochastic_round(expected, np.random.default_rng(seed)).sum() == 150_000


def test_a_threshold_that_repeats_nothing_is_reported(build, logged):
    build(**CONFIG | dict(threshold=1e-3))
    assert logged == [
        'RepeatFactorSampler: changes nothing, all samples are as likely as under plain shuffling: all repeat factors '
        'are 1. Each class is in 0.1 to 0.8 of the images; threshold=0.001 tells rare classes from frequent ones only '
        'when it lies between.'
    ]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(threshold=0), r'Expected `threshold` to be a share of the images in \(0, 1\], but got 0'),
        (dict(threshold=100), r'Expected `threshold` to be a share of the images in \(0, 1\], but got 100'),
        (dict(power=-1), 'Expected `power` to be a positive number, but got -1'),
        (dict(rounding='floor'), r"Expected `rounding` to be one of \['ceil', 'stochastic'\], but got 'floor'"),
    ],
)
def test_wrong_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**CONFIG | options)


def test_each_group_has_a_threshold_and_a_power_of_its_own(build):
    bounds, thresholds, powers = (2, 4), (0.9, 0.5, 0.9), (1, 0.3, 0)  # class 0 in 8 images, 1 in 3, 2 in 1
    sampler = build(**CONFIG | dict(threshold=thresholds, power=powers, group_bounds=bounds))
    images = {c: sum(c in sample for sample in LABELS) for c in range(3)}

    def factor(c):
        group = sum(images[c] > bound for bound in bounds)
        return max(1.0, thresholds[group] / (images[c] / len(LABELS))) ** powers[group]

    expected = [max(map(factor, sample), default=1.0) for sample in LABELS]
    np.testing.assert_allclose(sampler.repeat_factors, expected, rtol=1e-12)
    assert len(set(expected)) == 3


def test_groups_with_the_same_numbers_are_no_groups(build):
    grouped = build(**CONFIG, group_bounds=(2, 4), power=(0.5, 0.5, 0.5))
    assert grouped.repeat_factors.tolist() == build(**CONFIG).repeat_factors.tolist()
    assert list(grouped) == list(build(**CONFIG))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(power=(0.5, 1)), r'`power` to be one number, or 1, one a group between group_bounds=None, but got'),
        (dict(power=(0.5, 1), group_bounds=(2, 4)), r'`power` to be one number, or 3, .*=\(2, 4\), but got \(0.5, 1\)'),
        (dict(threshold=(0.5,), group_bounds=(2,)), r'`threshold` to be one number, or 2, one a group'),
        (dict(power=(0.5, -1), group_bounds=(2,)), r'`power` to be numbers of at least 0, but got \(0.5, -1\)'),
        (dict(group_bounds=(4, 2)), r'bounds of groups in ascending order, but got \(4, 2\)'),
    ],
)
def test_wrong_numbers_for_groups_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**CONFIG | options)
