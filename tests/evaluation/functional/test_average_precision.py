import numpy as np
import pytest

from ltmm.evaluation.functional import average_precision

RNG = np.random.default_rng(0)


def naive(scores, target):
    """Sum precision times recall step over the thresholds of one class."""
    scores, target = scores[target >= 0], target[target >= 0]
    if not target.sum():
        return np.nan
    steps, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        hits = target[chosen].sum()
        steps += (hits / target.sum() - recall) * hits / chosen.sum()
        recall = hits / target.sum()
    return steps


def random_set(num_images=40, num_classes=9, decimals=1, dtype=np.float64):
    scores = RNG.random((num_images, num_classes)).round(decimals).astype(dtype)  # few decimals: many ties
    return scores, RNG.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=scores.shape)


@pytest.mark.parametrize('decimals', [1, 2, 9])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_average_precision_equals_a_loop(decimals, dtype):
    scores, target = random_set(decimals=decimals, dtype=dtype)
    expected = [naive(scores[:, c], target[:, c]) for c in range(scores.shape[1])]
    np.testing.assert_allclose(average_precision(scores, target), expected, rtol=0, atol=1e-12)


def test_blocks_of_classes(monkeypatch):
    scores, target = random_set()
    expected = average_precision(scores, target)
    monkeypatch.setitem(average_precision.__globals__, 'BLOCK', 100)  # two classes at a time
    np.testing.assert_array_equal(average_precision(scores, target), expected)


def test_equal_scores_are_one_step_in_any_order():
    target = np.array([[1], [0], [0], [1]])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 0, 3]):
        assert average_precision(np.full((4, 1), 0.5), target[order]) == 0.5


def test_class_without_positives_and_perfect_order():
    scores, target = np.array([[0.9, 0.9], [0.8, 0.8], [0.1, 0.1]]), np.array([[1, 0], [1, -1], [0, 0]])
    np.testing.assert_array_equal(average_precision(scores, target), [1, np.nan])


@pytest.mark.parametrize('dtype', [np.int8, np.int64, np.float32, bool])
def test_targets_of_any_type(dtype):
    scores = RNG.random((20, 3))
    target = RNG.random((20, 3)) < 0.4
    np.testing.assert_array_equal(average_precision(scores, target.astype(dtype)), average_precision(scores, target))


def test_arguments_are_not_changed():
    scores, target = random_set()
    before = scores.copy(), target.copy()
    average_precision(scores, target)
    np.testing.assert_array_equal([scores, target], before)


def test_empty_arrays():
    assert np.isnan(average_precision(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    assert average_precision(np.zeros((2, 0)), np.zeros((2, 0))).shape == (0,)


@pytest.mark.parametrize(
    'scores, target, message',
    [
        (np.array([[np.nan]]), np.array([[1]]), '`scores` to be finite'),
        (np.array([[np.inf]]), np.array([[1]]), '`scores` to be finite'),
        (np.array([[0.5]]), np.array([[0.5]]), '`target` to be 1'),
        (np.array([[0.5]]), np.array([[2]]), '`target` to be 1'),
        (np.zeros((2, 3)), np.zeros((3, 2)), r'one shape \(N, C\), but got \(2, 3\) and \(3, 2\)'),
    ],
)
def test_invalid_input(scores, target, message):
    with pytest.raises(ValueError, match=message):
        average_precision(scores, target)
