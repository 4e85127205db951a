import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.selectors.base import fit_mixture, min_max
from ltmm.models.selectors.bi_dimensional_selector import (
    adaptive_centroids,
    class_means,
    weighted_jensen_shannon,
)
from ltmm.registry import MODELS

MIXTURE = dict(max_iter=30, tol=1e-2, reg_covar=5e-4)


def build(**options):
    return MODELS.build(dict(type='ltmm.BiDimensionalSelector', **options))


def state(seed=0):
    return np.random.RandomState(seed)


def noisy_data(sizes=(120, 60, 30), wrong=0.3, seed=0):
    """Features around the mean of their true class, logits that know it, and labels of which some are wrong."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    means = 3 * torch.eye(len(sizes), 8)
    features = means[true] + 0.4 * torch.randn(len(true), 8, generator=generator)
    logits = 4 * F.one_hot(true, len(sizes)) + torch.randn(len(true), len(sizes), generator=generator)
    label = torch.where(torch.rand(len(true), generator=generator) < wrong, (true + 1) % len(sizes), true)
    return features, logits, label, true


def test_class_means():
    values, label = torch.randn(23, 4).double(), torch.randint(0, 3, (23,))
    plain, batches = class_means(values, label, 5), class_means(values, label, 5, batch_size=4)
    for c in range(3):
        rows = values[label == c]
        torch.testing.assert_close(plain[c], rows.mean(0))
        torch.testing.assert_close(batches[c], torch.stack([part.mean(0) for part in rows.split(4)]).mean(0))
    assert not plain[3:].any() and not batches[3:].any()  # classes without samples


def naive_wjsd(p, c, mean):
    q = [float(j == c) for j in range(len(p))]
    m = [(a + b) / 2 for a, b in zip(p, q)]

    def kl(a):
        return sum(x * math.log((x + 1e-10) / (y + 1e-10)) for x, y in zip(a, m))

    return (kl(p) + kl(q)) / 2 * min(max(max(p) / p[c], 1), max(mean) / mean[c])


def test_weighted_jensen_shannon():
    prob, label = torch.randn(40, 5).double().softmax(1), torch.randint(0, 5, (40,))
    mean = torch.randn(5, 5).double().softmax(1)
    expected = [naive_wjsd(p.tolist(), int(c), mean[c].tolist()) for p, c in zip(prob, label)]
    torch.testing.assert_close(weighted_jensen_shannon(prob, label, mean), torch.tensor(expected).double())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_impossible_labels_have_finite_divergence(dtype):
    prob = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    divergence = weighted_jensen_shannon(prob, torch.tensor([1, 1]), prob)
    assert divergence.isfinite().all() and divergence[0] > divergence[1] and abs(divergence[1]) < 1e-6


def test_adaptive_centroids():
    prob = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    directions = torch.eye(4)
    mean = torch.tensor([[0.75, 0.25], [0.3, 0.5]])  # class 0 of samples 0 to 2, class 1 of sample 3
    centroids, counts = adaptive_centroids(prob, directions, torch.tensor([0, 0, 0, 1]), mean)
    assert counts.tolist() == [1, 1]
    torch.testing.assert_close(centroids, directions[[0, 3]])
    mean[0] = torch.tensor([0.95, 0.05])  # nobody is confident: all samples of the class count
    centroids, counts = adaptive_centroids(prob, directions, torch.tensor([0, 0, 0, 1]), mean)
    assert counts.tolist() == [3, 1]
    torch.testing.assert_close(centroids[0], directions[:3].mean(0))


def test_centroids_may_be_of_another_class():
    """All of class 1 look like class 0: so does its centroid, and its clean samples would be far from it."""
    selector = build()
    affinity, counts = np.array([[0.6, 0.4], [0.49, 0.51]]), np.array([50, 10])
    assert selector.is_centroid_of_larger_class(1, affinity[1], counts)
    assert not selector.is_centroid_of_larger_class(1, affinity[1], counts[::-1])
    assert not selector.is_centroid_of_larger_class(0, affinity[0], counts[::-1])  # not near
    assert not selector.is_centroid_of_larger_class(0, np.ones(1), np.array([9]))  # a single class
    wjsd = np.full(20, 0.5)  # tells nothing
    acd = np.r_[np.zeros(9), np.ones(11)] + 0.01 * state().random(20)
    near, far = (selector.select_in_class(wjsd, acd, swapped, state())[0] for swapped in (False, True))
    assert near.tolist() == (acd > 0.5).tolist() and far.tolist() == (acd < 0.5).tolist()


def test_divergence_is_preferred_where_it_tells_the_clusters_apart():
    acd = np.r_[np.zeros(20), np.ones(20)] + 0.01 * state().random(40)
    clear = np.r_[0.1 * state(1).random(30), 0.9 + 0.1 * state(2).random(10)]
    selected, probability = build(min_ratio=1e9).select_in_class(clear, acd, False, state())
    assert selected.tolist() == [True] * 30 + [False] * 10
    assert (probability[:30] > 0.99).all() and (probability[30:] < 0.01).all()
    # the same divergences in both clusters, low on the average: the cosine decides
    even = np.tile(np.r_[np.zeros(6), np.ones(4)], 4) + 0.01 * state().random(40)
    selected, _ = build().select_in_class(even, acd, False, state())
    assert selected.tolist() == [False] * 20 + [True] * 20


def test_finds_the_clean_samples_of_head_and_tail():
    features, logits, label, true = noisy_data()
    selected, probability = build().select(features, logits, label, state())
    assert ((probability > 0) == selected).all() and (probability <= 1).all()
    clean = (label == true).numpy()
    for c in range(3):
        rows = label.numpy() == c
        assert (selected & clean & rows).sum() / (selected & rows).sum() > 0.9
        assert (selected & clean & rows).sum() / (clean & rows).sum() > 0.8


def test_order_of_the_samples_does_not_matter():
    features, logits, label, _ = noisy_data()
    order = torch.randperm(len(label))
    selected, probability = build().select(features, logits, label, state())
    permuted = build().select(features[order], logits[order], label[order], state())
    assert (permuted[0] == selected[order]).mean() > 0.98  # k-means starts elsewhere
    again = build().select(features, logits, label, state())
    assert (again[0] == selected).all() and (again[1] == probability).all()


@pytest.mark.parametrize('rows', [1, 2])
def test_a_class_that_cannot_be_split_is_selected_as_a_whole(rows):
    """One sample, or equal ones."""
    features, logits, label, _ = noisy_data()
    features, logits = torch.cat([features, torch.ones(rows, 8)]), torch.cat([logits, torch.zeros(rows, 3)])
    logits = torch.cat([logits, torch.zeros(len(logits), 2)], dim=1)  # class 4 has no samples
    label = torch.cat([label, torch.full((rows,), 3)])
    selected, probability = build().select(features, logits, label, state())
    assert selected[-rows:].all() and (probability[-rows:] == 1).all()
    assert np.isfinite(probability).all() and 0 < selected[:-rows].sum() < len(selected) - rows


def test_one_measure_that_does_not_split_leaves_it_to_the_other():
    spread = np.r_[np.zeros(10), np.ones(10)] + 0.01 * state().random(20)
    flat = np.zeros(20)
    assert build().select_in_class(spread, flat, False, state())[0].tolist() == [True] * 10 + [False] * 10
    assert build().select_in_class(flat, spread, False, state())[0].tolist() == [False] * 10 + [True] * 10


def test_mixture():
    assert fit_mixture(np.ones(1), **MIXTURE, random_state=state()) is None
    assert fit_mixture(np.ones(5), **MIXTURE, random_state=state()) is None
    values = np.r_[0.1 + 0.02 * state().random(30), 0.8 + 0.02 * state().random(20)]
    mixture = fit_mixture(values, **MIXTURE, random_state=state())
    assert mixture.splits and mixture.is_low.tolist() == [True] * 30 + [False] * 20
    assert mixture.means[mixture.component] < mixture.means[1 - mixture.component]
    assert min_max(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5] and min_max(np.full(3, 7.0)).tolist() == [0] * 3


def test_half_precision():
    features, logits, label, _ = noisy_data()
    selected, _ = build().select(features, logits, label, state())
    low, _ = build().select(features.bfloat16(), logits.bfloat16(), label, state())
    assert (low == selected).mean() > 0.9


@pytest.mark.parametrize(
    'options, name',
    [
        (dict(min_ratio=-1), 'min_ratio'),
        (dict(margin=-1), 'margin'),
        (dict(batch_size=0), 'batch_size'),
        (dict(max_iter=0), 'max_iter'),
        (dict(tol=0), 'tol'),
        (dict(reg_covar=-1), 'reg_covar'),
    ],
)
def test_invalid_options(options, name):
    with pytest.raises(ValueError, match=f'`{name}`'):
        build(**options)
