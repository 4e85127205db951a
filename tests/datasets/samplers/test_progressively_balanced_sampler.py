import numpy as np
import pytest

COUNTS = [60, 30, 0, 9, 1]
CONFIG = dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=5)


def test_probability_by_epoch(build):
    sampler = build(COUNTS, **CONFIG)
    for epoch, balance in enumerate([0, 0.25, 0.5, 0.75, 1]):
        naive = [(1 - balance) * n / 100 + balance * (n > 0) / 4 for n in COUNTS]
        np.testing.assert_allclose(sampler.class_probability(epoch), naive)
        sampler.set_epoch(epoch)
        np.testing.assert_allclose(sampler.class_probability(), naive)


def test_draws_by_epoch(build):
    sampler = build(COUNTS, **CONFIG, length=20000)
    labels = np.array(sampler.dataset.labels)
    shares = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        shares.append((labels[list(sampler)] == 4).mean())
    np.testing.assert_allclose(shares, [0.01, 0.07, 0.13, 0.19, 0.25], atol=0.015)


def test_epoch_after_the_last(build):
    sampler = build(COUNTS, **CONFIG)
    sampler.set_epoch(5)
    with pytest.raises(ValueError, match=r'in \[0, 5\), but got 5\. Set `total_epochs`'):
        iter(sampler)
