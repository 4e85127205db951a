import numpy as np
import pytest
from toy import ToyImages

from ltmm.datasets import ShiftedTestSet, class_distribution_of, long_tailed_counts, select_long_tailed

BALANCED = dict(type='ltmm.ToyImages', counts=(20, 20, 20), pipeline=[])


def counts(**options) -> list[int]:
    data = ShiftedTestSet(BALANCED, **{'imbalance_factor': 10, 'direction': 'forward', **options})
    return class_distribution_of(data).instance_counts.tolist()


def test_forward_falls_with_the_label_and_backward_rises():
    falling = long_tailed_counts(20, 3, 10).tolist()
    assert falling[0] == 20 and falling[-1] == 2
    assert counts() == falling
    assert counts(direction='backward') == falling[::-1]


def test_the_training_data_rank_the_classes():
    train = dict(type='ltmm.ToyImages', counts=(5, 40, 9), pipeline=[])
    assert counts(train_dataset=train) == [2, 20, 6]
    assert counts(train_dataset=train, direction='backward') == [20, 2, 6]


def test_images_are_those_of_the_authors_draw():
    data = ShiftedTestSet(BALANCED, 10, 'backward')
    labels = np.repeat([0, 1, 2], 20)
    np.testing.assert_array_equal(data.indices, select_long_tailed(labels, [2, 6, 20], seed=0))
    assert [data[i]['gt_label'] for i in (0, 2, 8)] == [0, 1, 2]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(direction='sideways'), r"`direction` to be one of \['backward', 'forward'\], but got 'sideways'"),
        (dict(imbalance_factor=0.1), '`imbalance_factor`, head over tail, to be at least 1, but got 0.1'),
        (dict(imbalance_factor=30), '`imbalance_factor` to leave every class an image, but got 30'),
        (
            dict(train_dataset=dict(type='ltmm.ToyImages', counts=(3, 2), pipeline=[])),
            '`train_dataset` to have the 3 classes of the test set, but got 2',
        ),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        counts(**options)


def test_reads_nothing_before_it_is_used():
    assert not hasattr(ShiftedTestSet(ToyImages(lazy_init=True), 2, 'forward', lazy_init=True), 'indices')
