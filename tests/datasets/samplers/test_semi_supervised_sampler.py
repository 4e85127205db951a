from types import SimpleNamespace

import numpy as np
import pytest

from ltmm.registry import DATA_SAMPLERS


class Parts:
    sizes = [5, 12]

    def __len__(self):
        return 17


def build(epoch=0, rank=None, **settings):
    sampler = DATA_SAMPLERS.build(dict(dict(type='ltmm.SemiSupervisedSampler', seed=1), **settings, dataset=Parts()))
    if rank is not None:
        sampler.rank, sampler.world_size = rank, 2
        groups = sampler.num_groups if sampler.num_groups % 2 == 0 else sampler.num_groups + 1
        sampler.total_size = groups * sum(sampler.ratio)
        sampler.num_samples = sampler.total_size // 2
    sampler.set_epoch(epoch)
    return sampler


def test_batches_have_the_ratio():
    order = np.array(list(build(ratio=(1, 3), length=24))).reshape(6, 4)
    assert (order[:, 0] < 5).all() and (order[:, 1:] >= 5).all() and (order[:, 1:] < 17).all()
    assert len(build(ratio=(1, 3), length=24)) == 24


def test_each_stream_passes_over_all_its_images_again_and_again():
    draws = np.concatenate([list(build(epoch, ratio=(1, 2), length=9)) for epoch in range(10)])
    labeled, unlabeled = draws[draws < 5], draws[draws >= 5]
    for stream, size in ((labeled, 5), (unlabeled, 12)):
        passes = stream[: len(stream) // size * size].reshape(-1, size)
        assert len(passes) > 1 and all(len(set(row)) == size for row in passes)
        assert len({tuple(row) for row in passes}) == len(passes)  # in another order each time


def test_default_length_is_one_pass_over_the_unlabeled_images():
    order = list(build(ratio=(2, 3)))
    assert sorted(i for i in order if i >= 5) == list(range(5, 17))


@pytest.mark.parametrize('length', [12, 10])
def test_two_ranks_draw_what_one_draws(length):
    one = np.array(list(build(length=length))).reshape(-1, 2)
    ranks = [np.array(list(build(length=length, rank=rank))).reshape(-1, 2) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1])
    together = np.stack(ranks, axis=1).reshape(-1, 2)
    assert together[: len(one)].tolist() == one.tolist()


def test_order_depends_on_seed_and_epoch_only():
    assert list(build(3)) == list(build(3)) != list(build(2))
    assert list(build(seed=2)) != list(build())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(ratio=(1, 0)), '`ratio` to be a list of int >= 1'),
        (dict(ratio=(1, 2, 3)), 'two numbers'),
        (dict(length=0), '`length`'),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_labels_given_away():
    """A plain dataset, whose unlabeled part could carry labels, is refused."""
    with pytest.raises(TypeError, match='needs an ltmm.SemiSupervised dataset, but got SimpleNamespace'):
        DATA_SAMPLERS.build(dict(type='ltmm.SemiSupervisedSampler', dataset=SimpleNamespace()))
