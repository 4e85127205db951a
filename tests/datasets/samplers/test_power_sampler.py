import numpy as np
import pytest

from ltmm.datasets.samplers.power_sampler import power_probability

COUNTS = [100, 20, 0, 5, 1]


@pytest.mark.parametrize('power', [1, 0.5, 0, -1, 0.1, -2])
def test_probability(build, power):
    naive = [n**power if n else 0 for n in COUNTS]
    sampler = build(COUNTS, type='ltmm.PowerSampler', power=power)
    np.testing.assert_allclose(sampler.class_probability(), np.array(naive) / sum(naive), rtol=1e-12)


def test_large_powers():
    counts = np.array([10**6, 10**5, 1, 0])
    np.testing.assert_allclose(power_probability(counts, 1000), [1, 0, 0, 0])
    np.testing.assert_allclose(power_probability(counts, -1000), [0, 0, 1, 0])


def test_draws_are_balanced_within_classes(build):
    sampler = build([300, 60, 12], type='ltmm.PowerSampler', power=0, length=30000)
    labels, times = np.array(sampler.dataset.labels), np.bincount(list(sampler), minlength=372)
    assert (np.abs(np.bincount(labels, times) - 10000) < 5 * np.sqrt(30000 * 2 / 9)).all()
    assert all(np.ptp(times[labels == c]) <= 1 for c in range(3))


def test_power_one(build, logged):
    sampler = build(labels=[[0, 1], [0], [0, 1], [0]], num_classes=2, type='ltmm.PowerSampler', power=1)
    np.testing.assert_allclose(sampler.sample_probability(), np.array([2, 1, 2, 1]) / 6)
    assert logged == []  # multi-label samples are not equally likely
    build(COUNTS, type='ltmm.PowerSampler', power=1)
    assert len(logged) == 1 and 'power=1 is instance-balanced' in logged[0]
