import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATA_SAMPLERS

COUNTS = [60, 25, 10, 4, 2]


def on_ranks(monkeypatch, world_size, make):
    """Return the results of ``make`` on each of ``world_size`` ranks."""
    results = []
    for rank in range(world_size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, world_size))
        results.append(make())
    return results


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize('world_size', [2, 3, 8])
def test_ranks_equal_one_process(monkeypatch, build, config, world_size, round_up):
    def draws():
        sampler = build(COUNTS, **config, round_up=round_up)
        sampler.set_epoch(5)
        indices = list(sampler)
        assert len(indices) == len(sampler)
        if 'PowerSampler' in config['type']:  # its length is that of the dataset
            assert len(sampler) == len(DefaultSampler(sampler.dataset, round_up=round_up, seed=0))
        return indices

    (alone,) = on_ranks(monkeypatch, 1, draws)
    parts = on_ranks(monkeypatch, world_size, draws)
    if round_up:
        alone = alone + alone[: -len(alone) % world_size]
    assert parts == [alone[rank::world_size] for rank in range(world_size)]


def test_more_ranks_than_draws(monkeypatch, build):
    parts = on_ranks(monkeypatch, 8, lambda: list(build([2, 1], type='ltmm.PowerSampler', power=0)))
    assert [len(part) for part in parts] == [1] * 8


def test_resumed_epoch(build, config):
    original = build(COUNTS, **config, seed=3)
    for epoch in range(4):
        original.set_epoch(epoch)
        order = list(original)
    resumed = build(COUNTS, **config, seed=None)
    resumed.seed = 3  # as EpochSeedHook sets it
    resumed.set_epoch(3)
    assert list(resumed) == order == list(resumed)


def test_epochs_and_seeds_differ(build, config):
    orders = set()
    for seed in range(3):
        sampler = build(COUNTS, **config, seed=seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 9


def test_draws_have_the_sample_probability(build, config):
    sampler = build(COUNTS, **config)
    draws, expected, epochs = np.zeros(sum(COUNTS)), np.zeros(sum(COUNTS)), 400
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        draws += np.bincount(order, minlength=len(draws))
        expected += sampler.sample_probability() * len(order)
    assert (np.abs(draws - expected) < 5 * np.sqrt(expected)).all()


def test_order_is_random(build, config):
    sampler = build(COUNTS, **config, length=300)
    label = np.array(sampler.dataset.labels)
    first = np.zeros(len(COUNTS))
    for epoch in range(400):
        sampler.set_epoch(epoch)
        first[label[next(iter(sampler))]] += 1
    probability = np.mean([np.bincount(label, sampler.sample_probability(epoch)) for epoch in range(400)], axis=0)
    assert (np.abs(first - 400 * probability) < 5 * np.sqrt(400 * probability)).all()


@pytest.mark.parametrize('length', [1, 50, 1000])
def test_length(build, config, length):
    sampler = build(COUNTS, **config, length=length)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler) == length
        assert all(type(i) is int and 0 <= i < sum(COUNTS) for i in order)


def test_multi_label_probability(build, config):
    labels = [[0], [0, 1], [0, 1, 2, 2], [2], [0, 2], [0]]
    sampler = build(labels=labels, num_classes=3, **config)
    probability = sampler.sample_probability()
    assert probability.sum() == pytest.approx(1)
    if 'RepeatFactor' not in config['type']:
        counts = [sum(c in label for label in labels) for c in range(3)]
        p = sampler.class_probability()
        naive = [sum(p[c] / counts[c] for c in set(label)) for label in labels]
        np.testing.assert_allclose(probability, naive)


def test_unlabeled_samples(build, config, logged):
    labels = [[0], [], [0], [0, 1], []]
    sampler = build(labels=labels, num_classes=2, **config)
    if 'RepeatFactor' in config['type']:
        assert set(sampler) == {0, 1, 2, 3, 4}
        assert logged == []
    else:
        assert set(sampler) <= {0, 2, 3}
        assert any(type(sampler).__name__ in message and '2 of 5 samples' in message for message in logged)


def test_uniform_sampling_is_reported(build, config, logged):
    build(COUNTS, **config)
    assert logged == []
    sampler = build([5, 5, 5], **config)
    assert len(logged) == 1 and logged[0].startswith(f'{type(sampler).__name__}: has no effect')


def test_warning(build, monkeypatch):
    logged = []
    monkeypatch.setattr('mmengine.logging.MMLogger.callHandlers', lambda _, record: logged.append(record.levelname))
    build([3, 3], type='ltmm.PowerSampler', power=0)
    assert 'WARNING' in logged


@pytest.mark.parametrize('labels', [[[], []], []])
def test_dataset_without_labels(build, config, labels):
    with pytest.raises(ValueError, match=f'Labels has {len(labels)} samples, but no labels'):
        build(labels=labels, num_classes=2, **config)


def test_table_of_another_size(build):
    config = dict(type='ltmm.PowerSampler', power=0)
    dataset = build(COUNTS, **config).dataset
    dataset.get_label_table = lambda: LabelTable.from_labels([0, 0, 1], 2)
    with pytest.raises(ValueError, match='Labels has 101 samples, but labels of 3'):
        DATA_SAMPLERS.build(dict(config, dataset=dataset))


def test_dataloader(build, config):
    dataset = build(COUNTS, type='ltmm.PowerSampler', power=0).dataset
    loader = Runner.build_dataloader(dict(dataset=dataset, sampler=config, batch_size=4, num_workers=0), seed=11)
    assert type(loader.sampler).__name__ == config['type'].split('.')[1]
    assert loader.sampler.seed == 11
    assert sum(len(batch['gt_label']) for batch in loader) == len(loader.sampler)
