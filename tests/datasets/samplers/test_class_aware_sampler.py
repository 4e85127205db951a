import numpy as np
import pytest

COUNTS = [40, 9, 3, 1]
CONFIG = dict(type='ltmm.ClassAwareSampler')


@pytest.mark.parametrize('in_a_row', [1, 3, 4])
def test_classes_come_in_shuffled_cycles(build, in_a_row):
    sampler = build(COUNTS, **CONFIG, num_samples_per_class=in_a_row, length=30 * 4 * in_a_row)
    classes = np.array(sampler.dataset.labels)[list(sampler)].reshape(30, 4, in_a_row)
    assert (classes == classes[:, :, :1]).all()
    cycles = classes[:, :, 0]
    assert (np.sort(cycles, axis=1) == np.arange(4)).all()
    assert len(np.unique(cycles, axis=0)) > 5


def test_samples_come_in_cycles(build):
    sampler = build(COUNTS, **CONFIG, length=1000)
    order = np.array(list(sampler))
    labels = np.array(sampler.dataset.labels)
    for c, size in enumerate(COUNTS):
        draws = order[labels[order] == c]
        for start in range(0, len(draws), size):
            cycle = draws[start : start + size]
            assert len(set(cycle)) == len(cycle)


def test_short_epoch(build):
    sampler = build(COUNTS, **CONFIG, length=6)
    classes = np.array(sampler.dataset.labels)[list(sampler)]
    assert len(set(classes[:4])) == len(set(classes[4:])) == 1
    assert classes[0] != classes[4]


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(length='dataset'), 53),
        (dict(length=7), 7),
        (dict(length='max'), 160),
        (dict(length='max', reduce=3), 53),
        (dict(length='max', reduce=4), 40),
    ],
)
def test_length(build, options, expected):
    sampler = build(COUNTS, **CONFIG, **options)
    assert len(sampler) == len(list(sampler)) == expected


def test_multi_label_samples(build):
    labels = [[0], [0], [0, 1], [0, 2], [1, 2]]
    sampler = build(labels=labels, num_classes=3, **CONFIG, num_samples_per_class=2, length=600)
    visits = np.array(list(sampler)).reshape(-1, 2)
    assert all(set(labels[a]) & set(labels[b]) for a, b in visits)
    times = np.bincount(visits.ravel())
    np.testing.assert_allclose(times, 600 * sampler.sample_probability(), atol=2)  # two draws at the ends of the cycles


@pytest.mark.parametrize(
    'counts, message',
    [
        ([4, 0, 2, 1, 0], r'2 of 5 classes have no sample: c1 \(1\), c4 \(4\)\. .*PowerSampler'),
        ([4] + 99 * [0], r'99 of 100 .*: c1 \(1\), .*, c5 \(5\), \.\.\.\. '),
    ],
)
def test_empty_classes(build, counts, message):
    with pytest.raises(ValueError, match=message):
        build(counts, **CONFIG)
