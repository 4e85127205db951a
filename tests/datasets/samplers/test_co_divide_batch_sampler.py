from collections import Counter
from itertools import chain
from unittest import mock

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler

from ltmm.registry import DATA_SAMPLERS

N = 50


def build(batch_size=4, num=N, rank=0, world_size=1, selected=None, epoch=0, **sampler):
    options = dict(shuffle=True, seed=3) | sampler
    with mock.patch('ltmm.datasets.samplers.co_divide_batch_sampler.get_dist_info', lambda: (rank, world_size)):
        cfg = dict(type='ltmm.CoDivideBatchSampler', sampler=DefaultSampler(range(num), **options))
        batches = DATA_SAMPLERS.build(cfg | dict(batch_size=batch_size))
    batches.sampler.set_epoch(epoch)
    batches.selected = selected
    return batches


def flat(batches):
    return [*chain(*batches)]


def selection(*shares, num=N):
    return np.random.default_rng(0).random((2, num)) < np.array(shares)[:, None]


def test_warmup_passes_over_all_samples_for_each_network():
    sampler = build()
    batches = list(sampler)
    assert len(batches) == len(sampler) == len(sampler.steps) == 2 * 7
    for k in range(2):
        own = [batch for batch, step in zip(batches, sampler.steps) if step.network == k]
        assert [len(batch) for batch in own] == [8] * 6 + [2]
        assert sorted(flat(own)) == [*range(N)]
    assert batches[:7] != batches[7:]
    assert all(step.num_labeled is None for step in sampler.steps)
    assert [step.network for step in sampler.steps] == [0] * 7 + [1] * 7


def test_a_network_trains_on_what_the_other_one_selects():
    selected = selection(0.7, 0.3)
    sampler = build(selected=selected)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    for k in range(2):
        labeled, unlabeled, progress = [], [], []
        for batch, step in zip(batches, sampler.steps):
            if step.network == k:
                labeled += batch[: step.num_labeled]
                unlabeled.append(batch[step.num_labeled :])
                progress.append(step.progress)
        num = selected[1 - k].sum()
        assert sorted(labeled) == np.flatnonzero(selected[1 - k]).tolist()
        assert not selected[1 - k][flat(unlabeled)].any() and all(unlabeled)
        np.testing.assert_allclose(progress, np.arange(len(progress)) / (num // 4 + 1))


def test_unlabeled_samples_start_again_when_they_end():
    sampler = build(selected=selection(0.9, 0.9))
    batches = list(sampler)
    rows = [batch[step.num_labeled :] for batch, step in zip(batches, sampler.steps) if step.network == 0]
    counts = Counter(flat(rows))
    assert set(counts) == {*np.flatnonzero(~sampler.selected[1])}
    assert max(counts.values()) - min(counts.values()) <= 1 < max(counts.values())


def test_order_depends_on_seed_and_epoch():
    first = list(build(selected=selection(0.5, 0.5)))
    assert first == list(build(selected=selection(0.5, 0.5)))
    assert first != list(build(selected=selection(0.5, 0.5), epoch=1))
    assert first != list(build(selected=selection(0.5, 0.5), seed=4))


@pytest.mark.parametrize('selected', [None, selection(0.7, 0.4)])
def test_ranks_share_the_batches_of_one_process(selected):
    one = build(batch_size=6, selected=selected)
    ranks = [build(batch_size=2, rank=rank, world_size=3, selected=selected) for rank in range(3)]
    whole, parts = list(one), [list(sampler) for sampler in ranks]
    assert len(whole) == len(parts[0]) == len(ranks[0])
    assert ranks[0].steps == ranks[1].steps == ranks[2].steps
    for i, batch in enumerate(whole):
        shared = [part[i] for part in parts]
        assert len({len(part) for part in shared}) == 1
        assert {*flat(shared)} == {*batch}


@pytest.mark.parametrize('shares', [(0, 0.5), (1, 0.5), (0, 0), (1, 1)])
def test_nothing_or_all_selected(shares):
    sampler = build(selected=selection(*shares))
    batches = list(sampler)
    assert len(batches) == len(sampler)
    for k, share in enumerate(shares):
        own = [batch for batch, step in zip(batches, sampler.steps) if step.network == 1 - k]
        assert bool(own) == (share > 0)  # a network whose counterpart selects nothing has no batch
        if share == 1:
            assert sorted(flat(own)) == [*range(N)]


def test_needs_a_shuffling_sampler():
    with pytest.raises(TypeError, match='DefaultSampler with shuffle=False'):
        build(shuffle=False)
    with pytest.raises(ValueError, match='`batch_size`'):
        build(batch_size=0)
