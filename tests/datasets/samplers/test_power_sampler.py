import numpy as np
import pytest

from ltmm.datasets.samplers.power_sampler import power_probability

COUNTS = [100, 20, 0, 5, 1]


@pytest.mark.parametrize('power', [1, 0.5, 0, -1, 0.1, -2])
def test_probability_is_the_power_over_the_classes_that_occur(build, power):
    naive = [n**power if n else 0 for n in COUNTS]
    sampler = build(COUNTS, type='ltmm.PowerSampler', power=power)
    np.testing.assert_allclose(sampler.class_probability(), np.array(naive) / sum(naive), rtol=1e-12)


def test_power_minus_one_is_the_reversed_sampler_of_bbn():
    counts = np.array([100, 20, 5])
    reversed_weight = counts.max() / counts
    np.testing.assert_allclose(power_probability(counts, -1), reversed_weight / reversed_weight.sum())


def test_large_powers_neither_overflow_nor_vanish():
    counts = np.array([10**6, 10**5, 1, 0])
    np.testing.assert_allclose(power_probability(counts, 1000), [1, 0, 0, 0])
    np.testing.assert_allclose(power_probability(counts, -1000), [0, 0, 1, 0])


def test_classes_come_in_proportion(build):
    sampler = build([300, 60, 12], type='ltmm.PowerSampler', power=0, length=30000)
    counts = np.bincount(np.array(sampler.dataset.labels)[list(sampler)])
    assert (np.abs(counts - 10000) < 5 * np.sqrt(30000 * 2 / 9)).all()
    times = np.bincount(list(sampler), minlength=372)
    for c in range(3):
        assert np.ptp(times[np.array(sampler.dataset.labels) == c]) <= 1


def test_power_one_is_reported_as_plain_shuffling(build, logged):
    build(COUNTS, type='ltmm.PowerSampler', power=1)
    assert logged == [
        'PowerSampler: changes nothing, all samples are as likely as under plain shuffling: power=1 is '
        'instance-balanced sampling; below 1 the tail is drawn more often.'
    ]


def test_power_one_with_several_labels_a_sample_is_not_plain_shuffling(build, logged):
    sampler = build(labels=[[0, 1], [0], [0, 1], [0]], num_classes=2, type='ltmm.PowerSampler', power=1)
    np.testing.assert_allclose(sampler.sample_probability(), np.array([2, 1, 2, 1]) / 6)
    assert logged == []


@pytest.mark.parametrize('power', [float('nan'), float('inf')])
def test_a_power_that_is_not_finite_is_refused(build, power):
    with pytest.raises(ValueError, match=f'Expected `power` to be a finite number, but got {power}'):
        build(COUNTS, type='ltmm.PowerSampler', power=power)
