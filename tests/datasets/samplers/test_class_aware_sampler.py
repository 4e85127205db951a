import numpy as np
import pytest

COUNTS = [40, 9, 3, 1]
CONFIG = dict(type='ltmm.ClassAwareSampler')


@pytest.mark.parametrize('in_a_row', [1, 3, 4])
def test_classes_come_in_shuffled_cycles_a_few_samples_each(build, in_a_row):
    sampler = build(COUNTS, **CONFIG, num_samples_per_class=in_a_row, length=30 * 4 * in_a_row)
    classes = np.array(sampler.dataset.labels)[list(sampler)].reshape(30, 4, in_a_row)
    assert (classes == classes[:, :, :1]).all()
    cycles = classes[:, :, 0]
    assert (np.sort(cycles, axis=1) == np.arange(4)).all()
    assert len(np.unique(cycles, axis=0)) > 5


def test_no_sample_comes_again_before_its_class_is_through(build):
    sampler = build(COUNTS, **CONFIG, length=1000)
    order = np.array(list(sampler))
    labels = np.array(sampler.dataset.labels)
    for c, size in enumerate(COUNTS):
        of_class = order[labels[order] == c]
        for start in range(0, len(of_class), size):
            cycle = of_class[start : start + size]
            assert len(set(cycle)) == len(cycle)


def test_a_short_epoch_is_the_start_of_a_long_one_in_structure(build):
    sampler = build(COUNTS, **CONFIG, length=6)
    classes = np.array(sampler.dataset.labels)[list(sampler)]
    assert len(set(classes[:4])) == 1
    assert len(set(classes[4:])) == 1
    assert classes[0] != classes[4]


@pytest.mark.parametrize('length, expected', [('dataset', 53), ('max', 160), (7, 7)])
def test_length(build, length, expected):
    sampler = build(COUNTS, **CONFIG, length=length)
    assert len(sampler) == len(list(sampler)) == expected


@pytest.mark.parametrize('reduce, expected', [(1, 160), (3, 53), (4, 40)])
def test_the_length_of_the_largest_class_can_be_reduced(build, reduce, expected):
    assert len(build(COUNTS, **CONFIG, length='max', reduce=reduce)) == expected


def test_samples_with_several_labels_are_reached_by_each_of_them(build):
    labels = [[0], [0], [0, 1], [0, 2], [1, 2]]
    sampler = build(labels=labels, num_classes=3, **CONFIG, num_samples_per_class=2, length=600)
    visits = np.array(list(sampler)).reshape(-1, 2)
    assert all(set(labels[a]) & set(labels[b]) for a, b in visits)
    times = np.bincount(visits.ravel())
    np.testing.assert_allclose(times, 600 * sampler.sample_probability(), atol=2)  # two draws at the ends of the cycles


def test_an_empty_class_is_refused_by_name(build):
    message = (
        r'ClassAwareSampler: expected every class to have a sample, but 2 of 5 have none: c1 \(1\), c4 \(4\)\. '
        r"Take them out of the dataset's metainfo\['classes'\], or use type='ltmm.PowerSampler', power=0"
    )
    with pytest.raises(ValueError, match=message):
        build([4, 0, 2, 1, 0], **CONFIG)


def test_many_empty_classes_are_refused_in_one_line(build):
    with pytest.raises(ValueError, match=r'99 of 100 have none: c1 \(1\), .*, c5 \(5\), \.\.\.\. Take'):
        build([4] + 99 * [0], **CONFIG)


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(num_samples_per_class=0),
            'Expected `num_samples_per_class` to be a whole number of at least 1, but got 0',
        ),
        (dict(length='max', reduce=0), 'Expected `reduce` to be a whole number of at least 1, but got 0'),
        (dict(reduce=4), "Expected `reduce` to go with length='max', but got reduce=4, length='dataset'"),
        (dict(length='max', reduce=10**6), r"Expected `reduce` to be at most \d+, the length 'max', but got 1000000"),
        (dict(length='min'), "Expected `length` to be 'dataset', 'max' or a number, but got 'min'"),
    ],
)
def test_wrong_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(COUNTS, **CONFIG, **options)
