from itertools import pairwise

import numpy as np
import pytest

from ltmm.evaluation.functional import (
    adaptive_calibration_bins,
    brier_score,
    calibration_bins,
    class_wise_adaptive_calibration_bins,
    class_wise_calibration_bins,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)


def predictions(num=216):
    rng = np.random.default_rng(0)
    confidence = np.concatenate([rng.random(num - 16), np.linspace(0, 1, 16)])
    return confidence, rng.random(num) < confidence


def probabilities(num=300, num_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(num_classes, 0.3), num)
    probability[:20, 0], probability[20:40, 1] = 0, 0.2  # a probability of 0, ties, and one on an edge
    return probability, rng.integers(num_classes, size=num)


def naive_error(confidence, hit, edges):
    """Sum over bins (l, u] of share times gap."""
    error = 0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return error


def test_bins_equal_a_loop():
    confidence, correct = predictions()
    bins = calibration_bins(confidence, correct, num_bins=15)
    gaps, over = [], 0
    for b, (low, high) in enumerate(pairwise(np.linspace(0, 1, 16))):
        inside = (confidence > low) & (confidence <= high)
        assert bins.count[b] == inside.sum()
        mean, accuracy = confidence[inside].mean(), correct[inside].mean()
        gaps += [abs(mean - accuracy)] * inside.sum()
        over += inside.sum() * mean * max(mean - accuracy, 0)
    assert expected_calibration_error(bins) == pytest.approx(sum(gaps) / 216)
    assert maximum_calibration_error(bins) == pytest.approx(max(gaps))
    assert overconfidence_error(bins) == pytest.approx(over / 216)


def test_zero_confidence_and_empty_bin():
    bins = calibration_bins([0.0, 0.5, 1.0], [False, True, True], num_bins=4)
    assert bins.count.tolist() == [0, 1, 0, 1]
    assert bins.gap.tolist() == [0, 0.5, 0, 0]
    assert bins.num_samples == 3


def test_perfect_calibration_has_no_error():
    confidence = np.repeat([0.25, 0.5, 1.0], 4)
    correct = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1])
    for sort in (calibration_bins, adaptive_calibration_bins):
        bins = sort(confidence, correct, 3)
        assert expected_calibration_error(bins) == maximum_calibration_error(bins) == overconfidence_error(bins) == 0


def test_parts_of_a_test_set_add_up():
    probability, label = probabilities()
    whole = class_wise_calibration_bins(probability, label, 15)
    parts = [class_wise_calibration_bins(probability[i::3], label[i::3], 15) for i in range(3)]
    total = parts[0] + parts[1] + parts[2]
    assert total.num_samples == whole.num_samples == 300
    np.testing.assert_array_equal(total.count, whole.count)
    np.testing.assert_allclose([total.hits, total.confidence_sum], [whole.hits, whole.confidence_sum])


# ---------------------------------------------------------------------- bins of equal size


def test_adaptive_bins_have_equal_size():
    confidence, correct = predictions(217)
    bins = adaptive_calibration_bins(confidence, correct, 7)
    assert bins.count.tolist() == [31] * 7
    order = np.argsort(confidence)
    naive = [abs(confidence[part].mean() - correct[part].mean()) for part in order.reshape(7, 31)]
    assert expected_calibration_error(bins) == pytest.approx(np.mean(naive))


def test_adaptive_bins_with_ties():
    bins = adaptive_calibration_bins(np.full(10, 0.7), np.arange(10) < 5, 4)
    assert sorted(bins.count.tolist()) == [0, 0, 0, 10]
    assert expected_calibration_error(bins) == pytest.approx(0.2)


def test_adaptive_bins_of_fewer_samples_than_bins():
    bins = adaptive_calibration_bins([0.9, 0.5, 0.4], [True, True, False], 15)
    assert bins.count.sum() == 3
    assert expected_calibration_error(bins) == pytest.approx((0.1 + 0.5 + 0.4) / 3)


# ---------------------------------------------------------------------- class-wise bins


@pytest.mark.parametrize('num_bins', [1, 10, 15])
def test_class_wise_bins_equal_a_loop(num_bins):
    probability, label = probabilities()
    edges = np.linspace(0, 1, num_bins + 1)
    naive = [naive_error(probability[:, c], label == c, edges) for c in range(7)]
    error = expected_calibration_error(class_wise_calibration_bins(probability, label, num_bins))
    assert error == pytest.approx(np.mean(naive))


@pytest.mark.parametrize('num_bins', [1, 10, 15])
def test_class_wise_adaptive_bins_equal_a_loop(num_bins):
    probability, label = probabilities(305)
    naive = []
    for c in range(7):
        borders = np.sort(probability[:, c])[np.arange(num_bins) * (305 // num_bins)]
        naive.append(naive_error(probability[:, c], label == c, [*borders, 1.0]))
    error = expected_calibration_error(class_wise_adaptive_calibration_bins(probability, label, num_bins))
    assert error == pytest.approx(np.mean(naive))


@pytest.mark.parametrize('sort', [class_wise_calibration_bins, class_wise_adaptive_calibration_bins])
def test_true_negatives_are_hits_with_pred(sort):
    probability, label = probabilities()
    pred = probability.argmax(1)
    agreement = (pred[:, None] == np.arange(7)) == (label[:, None] == np.arange(7))  # (N, C)
    bins = sort(probability, label, 15, pred)
    of_classes = [sort(probability[:, [c]], np.zeros(300, int), 15) for c in range(7)]  # for the counts
    for c, alone in enumerate(of_classes):
        np.testing.assert_array_equal(bins.count[c], alone.count[0])
    in_bins = probability > (0 if sort is class_wise_calibration_bins else probability.min(0))
    np.testing.assert_array_equal(bins.hits.sum(1), (agreement & in_bins).sum(0))


@pytest.mark.parametrize('sort', [class_wise_calibration_bins, class_wise_adaptive_calibration_bins])
def test_one_class(sort):
    bins = sort(np.ones((5, 1), np.float32), np.zeros(5, int), 15)
    assert bins.count.shape == (1, 15)
    assert expected_calibration_error(bins) == 0


def test_class_wise_adaptive_bins_of_fewer_samples_than_bins():
    bins = class_wise_adaptive_calibration_bins([[0.2, 0.8], [0.9, 0.1]], [1, 0], 15)
    assert bins.count.sum(1).tolist() == [1, 1]  # the smallest probability of each class is in no bin
    assert np.isfinite(expected_calibration_error(bins))


# ---------------------------------------------------------------------- proper scores, invalid input


def test_likelihood_and_brier_score_equal_a_loop():
    probability, label = probabilities(50)
    probability[0], label[0] = np.eye(7)[3], 4
    for i, (nll, brier) in enumerate(zip(negative_log_likelihood(probability, label), brier_score(probability, label))):
        assert nll == pytest.approx(-np.log(max(probability[i, label[i]], 1e-20)))
        assert brier == pytest.approx(sum((p - (c == label[i])) ** 2 for c, p in enumerate(probability[i])))
    assert negative_log_likelihood(probability, label)[0] == pytest.approx(46.0517, abs=1e-3)
    assert brier_score(probability, label)[0] == 2


@pytest.mark.parametrize('bad', [1.5, -0.1, float('nan')])
@pytest.mark.parametrize(
    'sort',
    [
        lambda p: calibration_bins(p, [True, True], 15),
        lambda p: adaptive_calibration_bins(p, [True, True], 15),
        lambda p: class_wise_calibration_bins([p], [0], 15),
        lambda p: class_wise_adaptive_calibration_bins([p], [0], 15),
    ],
    ids=['plain', 'adaptive', 'class-wise', 'class-wise adaptive'],
)
def test_confidence_outside_0_1(sort, bad):
    with pytest.raises(ValueError, match=r'Expected `confidence` to be in \[0, 1\]'):
        sort([0.5, bad])
