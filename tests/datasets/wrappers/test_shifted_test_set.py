import numpy as np
import pytest
from toy import ToyImages

from ltmm.datasets import ShiftedTestSet, class_distribution_of, long_tailed_counts, select_long_tailed

BALANCED = dict(type='ltmm.ToyImages', counts=(20, 20, 20), pipeline=[])
TRAIN = dict(type='ltmm.ToyImages', counts=(5, 40, 9), pipeline=[])


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(), [20, 6, 2]),
        (dict(direction='backward'), [2, 6, 20]),
        (dict(train_dataset=TRAIN), [2, 20, 6]),
        (dict(train_dataset=TRAIN, direction='backward'), [20, 2, 6]),
    ],
)
def test_counts(options, expected):
    data = ShiftedTestSet(BALANCED, **{'imbalance_factor': 10, 'direction': 'forward', **options})
    assert class_distribution_of(data).instance_counts.tolist() == expected
    assert sorted(expected) == sorted(long_tailed_counts(20, 3, 10))


def test_images_equal_the_authors_selection():
    data = ShiftedTestSet(BALANCED, 10, 'backward')
    labels = np.repeat([0, 1, 2], 20)
    np.testing.assert_array_equal(data.indices, select_long_tailed(labels, [2, 6, 20], seed=0))
    assert [data[i]['gt_label'] for i in (0, 2, 8)] == [0, 1, 2]


def test_train_dataset_of_other_classes():
    with pytest.raises(ValueError, match='3 classes, but `train_dataset` 2'):
        ShiftedTestSet(BALANCED, 10, 'forward', train_dataset=dict(TRAIN, counts=(3, 2)))


def test_lazy_init():
    assert not hasattr(ShiftedTestSet(ToyImages(lazy_init=True), 2, 'forward', lazy_init=True), 'indices')
