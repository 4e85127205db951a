import numpy as np
import pytest

from ltmm.datasets.labels.label_states import states_of


@pytest.mark.parametrize(
    'record, expected',
    [
        (dict(gt_score=[1, 0, -1, 0]), [1, 0, -1, 0]),
        (dict(gt_score=np.array([1.0, 0, -1, 0], dtype=np.float32)), [1, 0, -1, 0]),
        (dict(gt_label=[2, 0]), [1, 0, 1, 0]),
        (dict(gt_label=[]), [0, 0, 0, 0]),
        (dict(gt_label=[0, 1], gt_score=[0, 1, 0, 0]), [0, 1, 0, 0]),
    ],
)
def test_states_of(record, expected):
    states = states_of(record, 4)
    assert states.tolist() == expected and states.dtype == np.int8


@pytest.mark.parametrize(
    'record, error, message',
    [
        (dict(gt_score=[0, 2]), ValueError, '2 for class 1'),
        (dict(gt_score=[np.nan, 0]), ValueError, 'nan for class 0'),
        (dict(gt_score=[[0, 1]]), ValueError, r'shape \(1, 2\)'),
        (dict(gt_score=[0, 1, 0]), ValueError, '2 classes, but got 3'),
        (dict(img=1), TypeError, r"the keys \['img'\]"),
        (dict(gt_label=2), TypeError, 'gt_label=2'),
    ],
)
def test_invalid_records(record, error, message):
    with pytest.raises(error, match=message):
        states_of(record, 2)
