import math

import numpy as np
import pytest

from ltmm.datasets.samplers.repeat_factor_sampler import stochastic_round

LABELS = [[0], [0, 1], [0], [0, 2, 2], [1], [], [0], [0, 1], [0], [0]]
CONFIG = dict(type='ltmm.RepeatFactorSampler', labels=LABELS, num_classes=4, threshold=0.4)


def naive_factors(labels, threshold, power=0.5):
    share = {c: sum(c in sample for sample in labels) / len(labels) for sample in labels for c in sample}
    return [max([max(1.0, (threshold / share[c]) ** power) for c in sample], default=1.0) for sample in labels]


def counts_of_epochs(sampler, epochs) -> np.ndarray:
    """Draws of each image in each epoch."""
    counts = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler)
        counts.append(np.bincount(order, minlength=len(LABELS)))
    return np.stack(counts)


@pytest.mark.parametrize('options', [dict(), dict(power=1.0), dict(power=0.25)])
def test_repeat_factors(build, options):
    sampler = build(**CONFIG, **options)
    np.testing.assert_allclose(sampler.repeat_factors, naive_factors(LABELS, 0.4, **options), rtol=1e-12)
    assert sampler.repeat_factors[5] == 1  # no label


def test_ceil(build):
    expected = [math.ceil(factor) for factor in naive_factors(LABELS, 0.4)]
    assert (counts_of_epochs(build(**CONFIG, rounding='ceil'), 3) == expected).all()


def test_stochastic(build):
    sampler = build(**CONFIG)
    assert len(sampler) == round(sum(naive_factors(LABELS, 0.4)))
    counts = counts_of_epochs(sampler, 2000)
    expected = sampler.repeat_factors * (len(sampler) / sampler.repeat_factors.sum())
    assert (np.floor(expected) <= counts).all() and (counts <= np.ceil(expected)).all()
    np.testing.assert_allclose(counts.mean(axis=0), expected, atol=5 * 0.5 / math.sqrt(2000))
    assert len(np.unique(counts, axis=0)) > 3


@pytest.mark.parametrize('rounding', ['stochastic', 'ceil'])
@pytest.mark.parametrize('length', [4, 10, 35])
def test_length_rescales_the_factors(build, rounding, length):
    sampler = build(**CONFIG, rounding=rounding, length=length)
    draws = np.array(naive_factors(LABELS, 0.4))
    draws = np.ceil(draws) if rounding == 'ceil' else draws
    mean = counts_of_epochs(sampler, 1000).mean(axis=0)
    np.testing.assert_allclose(mean, draws / draws.sum() * length, atol=5 * 0.5 / math.sqrt(1000))


def test_stochastic_round_keeps_expectations_and_sum():
    rng = np.random.default_rng(0)
    expected = rng.random(50) * 3
    expected *= 80 / expected.sum()
    rounded = np.array([stochastic_round(expected, rng) for _ in range(4000)])
    assert (rounded.sum(axis=1) == 80).all()
    assert (np.abs(rounded - expected) < 1).all()
    np.testing.assert_allclose(rounded.mean(axis=0), expected, atol=5 * 0.5 / math.sqrt(4000))
    long = rng.random(300_000)
    long *= 150_000 / long.sum()
    assert stochastic_round(long, rng).sum() == 150_000
    whole = np.array([0.0, 3.0, 1.0, 7.0])
    np.testing.assert_array_equal(stochastic_round(whole, rng), whole)


def test_stochastic_round_is_independent():
    rng = np.random.default_rng(0)
    rounded = np.array([stochastic_round(np.full(4, 0.5), rng) for _ in range(200)])
    assert len(np.unique(rounded, axis=0)) == 6  # all ways to round two of four up


def test_threshold_without_effect(build, logged):
    build(**CONFIG | dict(threshold=1e-3))
    assert len(logged) == 1
    assert 'all repeat factors are 1. Choose a threshold, now 0.001' in logged[0] and '0.1 and 0.8' in logged[0]


def test_groups(build):
    bounds, thresholds, powers = (2, 4), (0.9, 0.5, 0.9), (1, 0.3, 0)  # class 0 in 8 images, 1 in 3, 2 in 1
    sampler = build(**CONFIG | dict(threshold=thresholds, power=powers, group_bounds=bounds))
    images = {c: sum(c in sample for sample in LABELS) for c in range(3)}

    def factor(c):
        group = sum(images[c] > bound for bound in bounds)
        return max(1.0, thresholds[group] / (images[c] / len(LABELS))) ** powers[group]

    expected = [max(map(factor, sample), default=1.0) for sample in LABELS]
    np.testing.assert_allclose(sampler.repeat_factors, expected, rtol=1e-12)
    assert len(set(expected)) == 3


def test_equal_groups(build):
    grouped = build(**CONFIG, group_bounds=(2, 4), power=(0.5, 0.5, 0.5))
    assert grouped.repeat_factors.tolist() == build(**CONFIG).repeat_factors.tolist()
    assert list(grouped) == list(build(**CONFIG))
