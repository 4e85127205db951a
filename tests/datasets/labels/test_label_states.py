import numpy as np
import pytest

from ltmm.datasets.labels.label_states import checked_states, states_of


@pytest.mark.parametrize('score', [[1, 0, -1], np.array([1.0, 0, -1], dtype=np.float32), np.array([1, 0, -1])])
def test_scores_are_states(score):
    states = states_of(dict(gt_score=score), 3)
    assert states.tolist() == [1, 0, -1] and states.dtype == np.int8


def test_listed_classes_are_positive_and_all_others_negative():
    assert states_of(dict(gt_label=[2, 0]), 4).tolist() == [1, 0, 1, 0]
    assert states_of(dict(gt_label=[]), 2).tolist() == [0, 0]


def test_scores_decide_over_labels():
    assert states_of(dict(gt_label=[0, 1], gt_score=[0, 1]), 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    'score, got', [([0, 2], '2 for class 1'), ([np.nan, 0], 'nan for class 0'), ([[0, 1]], r'shape \(1, 2\)')]
)
def test_other_values_are_refused_by_name(score, got):
    with pytest.raises(ValueError, match=rf'1 \(positive\), 0 \(negative\) or -1 \(unknown\), but got {got}'):
        checked_states(score)


def test_other_records_are_refused():
    with pytest.raises(ValueError, match='to have 3 entries, one a class, but got 2'):
        states_of(dict(gt_score=[0, 1]), 3)
    with pytest.raises(TypeError, match=r"'gt_score' or 'gt_label', but got the keys \['img'\]"):
        states_of(dict(img=1), 3)
    with pytest.raises(TypeError, match=r'but got the one class gt_label=2. Give \[2\] where this is multi-label data'):
        states_of(dict(gt_label=2), 3)
