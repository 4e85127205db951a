import numpy as np
import pytest

from .test_base import on_ranks

COUNTS = [30, 10, 0, 4]
RATE = np.array([0.1, 0.4, 0.9, 0.8])


@pytest.fixture
def build_meta(build):
    def _build(counts=COUNTS, **config):
        sampler = build(counts, type='ltmm.MetaSampler', **config)
        sampler.rate = RATE[: len(counts)]
        return sampler

    return _build


@pytest.mark.parametrize('world_size', [2, 3])
def test_ranks_equal_one_process(monkeypatch, build_meta, world_size):
    def draws():
        sampler = build_meta(length=30)
        sampler.set_epoch(2)
        return [*sampler]

    (alone,) = on_ranks(monkeypatch, 1, draws)
    parts = on_ranks(monkeypatch, world_size, draws)
    assert parts == [alone[rank::world_size] for rank in range(world_size)]


def test_length_is_that_of_the_dataset(build_meta):
    sampler = build_meta()
    assert len(sampler) == len([*sampler]) == 44


def test_epochs_and_seeds_differ_and_repeat(build_meta):
    orders = set()
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        sampler = build_meta(seed=seed)
        sampler.set_epoch(epoch)
        orders.add((*sampler,))
    assert len(orders) == 3


def test_draws_have_the_sample_probability(build_meta):
    sampler = build_meta(length=20000)
    label = np.array(sampler.dataset.labels)
    np.testing.assert_allclose(sampler.sample_probability(), RATE[label] / (3 + 4 + 3.2))
    expected = 20000 * sampler.sample_probability()
    draws = np.bincount([*sampler], minlength=44)
    assert (np.abs(draws - expected) < 5 * np.sqrt(expected)).all()


def test_rates_act_at_once(build_meta):
    sampler = build_meta()
    label, draws = np.array(sampler.dataset.labels), iter(sampler)
    sampler.rate = np.eye(4)[3]
    assert {label[next(draws)] for _ in range(5)} == {3}
    sampler.rate = np.eye(4)[1]
    assert {label[next(draws)] for _ in range(5)} == {1}


def test_draws_are_taken_in_their_order(build_meta):
    sampler = build_meta()
    order, label = [*sampler], np.array(sampler.dataset.labels)
    taken = [sampler.take_draws(num) for num in (4, 40)]
    labels, noise, class_noise = map(np.concatenate, zip(*taken))
    assert labels.tolist() == label[order].tolist()
    for slot in range(44):
        gumbel = -np.log(sampler.noise(slot))
        assert noise[slot] == pytest.approx(gumbel[order[slot]])
        naive = [np.log(np.exp(gumbel[label == c]).sum()) if (label == c).any() else -np.inf for c in range(4)]
        np.testing.assert_allclose(class_noise[slot], naive)
    assert not sampler.draws


@pytest.mark.parametrize('labels', [[[0], [0, 1]], [[0], [1], []]])
def test_multi_label_data(build, labels):
    with pytest.raises(ValueError, match='MetaSampler: expected one label per sample'):
        build(labels=labels, num_classes=2, type='ltmm.MetaSampler')


@pytest.mark.parametrize('use', [lambda sampler: next(iter(sampler)), lambda sampler: sampler.sample_probability()])
def test_needs_the_hook(build, use):
    with pytest.raises(ValueError, match="type='ltmm.MetaSamplerHook'"):
        use(build([3, 2], type='ltmm.MetaSampler'))
