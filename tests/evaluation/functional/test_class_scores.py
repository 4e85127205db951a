import numpy as np
import pytest
import torch

from ltmm.evaluation.functional import class_scores, geometric_mean, harmonic_mean, label_ranks


def naive(pred, label, num_classes):
    recall, precision, f1 = [], [], []
    for c in range(num_classes):
        hit = sum(p == c and y == c for p, y in zip(pred, label))
        support, predicted = sum(y == c for y in label), sum(p == c for p in pred)
        r, p = hit / support, hit / predicted if predicted else 0.0
        recall.append(r)
        precision.append(p)
        f1.append(2 * p * r / (p + r) if p + r else 0.0)
    return recall, precision, f1


@pytest.mark.parametrize('seed', range(3))
def test_scores_equal_a_loop_over_classes(seed):
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(7), rng.integers(0, 7, 60)])
    pred = np.where(rng.random(67) < 0.5, label, rng.integers(0, 5, 67))
    scores = class_scores(pred, label, 7)
    for got, expected in zip((scores.recall, scores.precision, scores.f1), naive(pred, label, 7)):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert scores.accuracy == (pred == label).mean()


def test_class_without_test_samples_is_nan():
    scores = class_scores(pred=[0, 1, 1], label=[0, 0, 2], num_classes=3)
    assert scores.tested.tolist() == [True, False, True]
    np.testing.assert_array_equal(scores.recall, [0.5, np.nan, 0])
    np.testing.assert_array_equal(scores.precision, [1, np.nan, 0])
    np.testing.assert_allclose(scores.f1, [2 / 3, np.nan, 0])


def test_floor_of_the_means():
    recall = np.array([0.5, 0.0, 1.0])
    assert harmonic_mean(recall, floor=0.1) == pytest.approx(3 / (2 + 10 + 1))
    assert geometric_mean(recall, floor=0.1) == pytest.approx((0.5 * 0.1 * 1) ** (1 / 3))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_label_rank_below_k_means_in_top_k(dtype):
    scores = torch.randn(50, 20, dtype=dtype).mul(3).round()  # with many ties
    label = torch.randint(20, (50,))
    order = scores.argsort(dim=1, descending=True, stable=True)
    expected = [row.tolist().index(y) for row, y in zip(order, label.tolist())]
    assert label_ranks(scores, label).tolist() == expected
    assert torch.equal(label_ranks(scores, label) == 0, scores.argmax(1) == label)


@pytest.mark.parametrize(
    'pred, label, message',
    [
        ([0, 1], [0, 3], r'Expected `label` to be in \[0, 3\), but got values from 0 to 3'),
        ([-1, 1], [0, 2], r'Expected `pred` to be in \[0, 3\), but got values from -1 to 1'),
        ([], [], 'at least one'),
    ],
)
def test_invalid_input(pred, label, message):
    with pytest.raises(ValueError, match=message):
        class_scores(pred, label, 3)
