import numpy as np
import pytest

COUNTS = [60, 30, 0, 9, 1]
CONFIG = dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=5)


def test_balance_grows_from_instances_to_classes(build):
    sampler = build(COUNTS, **CONFIG)
    for epoch, balance in enumerate([0, 0.25, 0.5, 0.75, 1]):
        naive = [(1 - balance) * n / 100 + balance * (n > 0) / 4 for n in COUNTS]
        np.testing.assert_allclose(sampler.class_probability(epoch), naive)
        sampler.set_epoch(epoch)
        np.testing.assert_allclose(sampler.class_probability(), naive)


def test_the_tail_comes_more_often_epoch_by_epoch(build):
    sampler = build(COUNTS, **CONFIG, length=20000)
    labels = np.array(sampler.dataset.labels)
    tail = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        tail.append((labels[list(sampler)] == 4).mean())
    np.testing.assert_allclose(tail, [0.01, 0.07, 0.13, 0.19, 0.25], atol=0.015)


def test_an_epoch_beyond_the_last_is_refused(build):
    sampler = build(COUNTS, **CONFIG)
    message = r'expected an epoch in \[0, total_epochs=5\), but got epoch 5\. Set `total_epochs` to the training'
    with pytest.raises(ValueError, match=message):
        sampler.set_epoch(5)
    assert sampler.epoch == 0
    with pytest.raises(ValueError, match=message):
        sampler.class_probability(5)


@pytest.mark.parametrize('total_epochs', [1, 0, 2.5])
def test_fewer_than_two_epochs_are_refused(build, total_epochs):
    with pytest.raises(ValueError, match='Expected `total_epochs` to be'):
        build(COUNTS, type='ltmm.ProgressivelyBalancedSampler', total_epochs=total_epochs)
