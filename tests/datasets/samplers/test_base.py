import logging

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATA_SAMPLERS

COUNTS = [60, 25, 10, 4, 2]


def on_ranks(monkeypatch, world_size, make):
    """What ``make`` returns on each of ``world_size`` ranks."""
    results = []
    for rank in range(world_size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, world_size))
        results.append(make())
    return results


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize('world_size', [2, 3, 8])
def test_union_over_ranks_equals_one_process(monkeypatch, build, config, world_size, round_up):
    def draws():
        sampler = build(COUNTS, **config, round_up=round_up)
        sampler.set_epoch(5)
        indices = list(sampler)
        assert len(indices) == len(sampler)
        return indices

    (alone,) = on_ranks(monkeypatch, 1, draws)
    parts = on_ranks(monkeypatch, world_size, draws)
    if round_up:
        assert len({len(part) for part in parts}) == 1
        alone = alone + alone[: -len(alone) % world_size]
    assert sum(map(len, parts)) == len(alone)
    for rank, part in enumerate(parts):
        assert part == alone[rank::world_size]


@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_draw_as_many_as_with_the_default_sampler(monkeypatch, build, round_up):
    def lengths():
        sampler = build(COUNTS, type='ltmm.PowerSampler', power=0, round_up=round_up)
        default = DefaultSampler(sampler.dataset, round_up=round_up, seed=0)
        assert len(list(sampler)) == len(list(default))
        return len(sampler), len(default)

    for ours, default in on_ranks(monkeypatch, 7, lengths):
        assert ours == default


def test_more_ranks_than_draws(monkeypatch, build):
    parts = on_ranks(monkeypatch, 8, lambda: list(build([2, 1], type='ltmm.PowerSampler', power=0)))
    assert [len(part) for part in parts] == [1] * 8


def test_an_epoch_depends_on_seed_and_epoch_alone(build, config):
    went_through = build(COUNTS, **config, seed=3)
    for epoch in range(4):
        went_through.set_epoch(epoch)
        order = list(went_through)
    resumed = build(COUNTS, **config, seed=None)
    resumed.seed = 3  # as on resume, see EpochSeedHook
    resumed.set_epoch(3)
    assert list(resumed) == order == list(resumed)


def test_epochs_and_seeds_have_orders_of_their_own(build, config):
    orders = set()
    for seed in range(3):
        sampler = build(COUNTS, **config, seed=seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 9


def test_draws_have_the_promised_probabilities(build, config):
    sampler = build(COUNTS, **config)
    draws, expected, epochs = np.zeros(sum(COUNTS)), np.zeros(sum(COUNTS)), 400
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        draws += np.bincount(order, minlength=len(draws))
        expected += sampler.sample_probability() * len(order)
    assert (np.abs(draws - expected) < 5 * np.sqrt(expected)).all()


def test_draws_come_in_random_order(build, config):
    sampler = build(COUNTS, **config, length=300)
    label = np.array(sampler.dataset.labels)
    first = np.zeros(len(COUNTS))
    for epoch in range(400):
        sampler.set_epoch(epoch)
        first[label[next(iter(sampler))]] += 1
    probability = np.mean([np.bincount(label, sampler.sample_probability(epoch)) for epoch in range(400)], axis=0)
    assert (np.abs(first - 400 * probability) < 5 * np.sqrt(400 * probability)).all()


@pytest.mark.parametrize('length', [1, 50, 1000])
def test_length_fixes_the_draws_of_an_epoch(build, config, length):
    sampler = build(COUNTS, **config, length=length)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler) == length
        assert all(type(i) is int and 0 <= i < sum(COUNTS) for i in order)


def test_probabilities_of_samples_with_several_labels(build, config):
    labels = [[0], [0, 1], [0, 1, 2, 2], [2], [0, 2], [0]]
    sampler = build(labels=labels, num_classes=3, **config)
    probability = sampler.sample_probability()
    assert probability.sum() == pytest.approx(1)
    if hasattr(sampler, 'class_probability'):
        counts = [sum(c in label for label in labels) for c in range(3)]
        p = sampler.class_probability()
        naive = [sum(p[c] / counts[c] for c in set(label)) for label in labels]
        np.testing.assert_allclose(probability, naive)


def test_samples_without_a_label_are_reported(build, config, logged):
    labels = [[0], [], [0], [0, 1], []]
    sampler = build(labels=labels, num_classes=2, **config)
    drawn = set(sampler)
    if 'RepeatFactor' in config['type']:
        assert drawn == {0, 1, 2, 3, 4}
        assert logged == []
    else:
        assert drawn <= {0, 2, 3}
        name = type(sampler).__name__
        assert f'{name}: 2 of 5 samples have no label and will never be drawn.' in logged


def test_balanced_data_is_reported(build, config, logged):
    sampler = build([5, 5, 5], **config)
    assert len(logged) == 1
    assert logged[0].startswith(f'{type(sampler).__name__}: changes nothing, all samples are as likely as under plain')


def test_imbalanced_data_is_not_reported(build, config, logged):
    build(COUNTS, **config)
    assert logged == []


def test_the_report_is_a_warning_in_the_log(build):
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    build([3, 3], type='ltmm.PowerSampler', power=0)
    logger.removeHandler(handler)
    assert [record.levelname for record in records] == ['WARNING']


def test_a_dataset_without_samples_is_refused(build, config):
    with pytest.raises(ValueError, match='expected a dataset with samples, but got an empty Unread'):
        DATA_SAMPLERS.build(dict(config, dataset=type('Unread', (), dict(__len__=lambda self: 0))()))


def test_a_dataset_without_labels_is_refused(build, config):
    with pytest.raises(ValueError, match='expected a dataset with labels, but none of 2 samples has one'):
        build(labels=[[], []], num_classes=2, **config)


def test_labels_of_another_number_of_samples_are_refused(build, config):
    dataset = build(COUNTS, type='ltmm.PowerSampler', power=0).dataset
    dataset.get_label_table = lambda: LabelTable.from_labels([0, 0, 1], 2)
    with pytest.raises(ValueError, match='expected labels of all 101 samples of Labels, but got those of 3'):
        DATA_SAMPLERS.build(dict(config, dataset=dataset))


@pytest.mark.parametrize('length', [0, -3, 2.5, True])
def test_a_length_below_one_is_refused(build, config, length):
    with pytest.raises(ValueError, match=f'Expected `length` to be a whole number of at least 1, but got {length}'):
        build(COUNTS, **config, length=length)


def test_it_is_the_sampler_of_a_dataloader(build, config):
    dataset = build(COUNTS, type='ltmm.PowerSampler', power=0).dataset
    loader = Runner.build_dataloader(dict(dataset=dataset, sampler=config, batch_size=4, num_workers=0), seed=11)
    assert type(loader.sampler).__name__ == config['type'].split('.')[1]
    assert loader.sampler.seed == 11
    assert sum(len(batch['gt_label']) for batch in loader) == len(loader.sampler)
