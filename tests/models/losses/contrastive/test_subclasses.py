import math

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.contrastive.subclasses import (
    CLUSTERINGS,
    assign_balanced,
    class_temperatures,
    split_classes,
    subclass_counts,
)


def blobs(num: int, size: int, dim: int = 6) -> torch.Tensor:
    """Features around ``num`` directions, direction after direction."""
    centers = torch.eye(dim)[:num].repeat_interleave(size, 0)
    return F.normalize(centers + 0.05 * torch.randn(num * size, dim), dim=1)


@pytest.mark.parametrize(
    ('counts', 'min_size', 'expected'),
    [
        ([500, 60, 12, 3], 10, [50, 6, 1, 1]),
        ([500, 60, 12, 3], 1, [166, 20, 4, 1]),
        ([100, 40, 38], 10, [2, 1, 1]),  # the rarest class has more than min_size
        ([100, 0, 20], 10, [5, 0, 1]),
        ([7], 10, [1]),
    ],
)
def test_number_of_sub_classes(counts, min_size, expected):
    assert subclass_counts(torch.tensor(counts), min_size).tolist() == expected


@pytest.mark.parametrize('method', CLUSTERINGS)
def test_finds_clusters_of_each_class(method):
    features = torch.cat([blobs(3, 8), blobs(1, 5), blobs(4, 8).flip(0)])
    label = torch.tensor([0] * 24 + [1] * 5 + [3] * 32)
    found = [split_classes(features, label, torch.tensor([3, 1, 0, 4]), method, seed) for seed in range(5)]
    subclass = next(
        s for s in found if len(s.unique()) == 8 and all(len(part.unique()) == 1 for part in s[:24].split(8))
    )
    assert subclass[:24].unique().tolist() == [0, 1, 2]
    assert subclass[24:29].unique().tolist() == [3]
    assert subclass[29:].unique().tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize('method', CLUSTERINGS)
@pytest.mark.parametrize(('num', 'k'), [(7, 7), (7, 3), (5, 1)])
def test_equal_features_and_one_each(method, num, k):
    for features in (blobs(1, num), torch.ones(num, 4)):
        cluster = CLUSTERINGS[method](features, k, 0)
        assert cluster.shape == (num,) and 0 <= cluster.min() and cluster.max() < k


def greedy(distance: torch.Tensor) -> list[int]:
    similarity = 1 / distance.double()
    similarity = similarity / similarity.norm(dim=1, keepdim=True)
    k, n = distance.shape
    pairs = sorted((-similarity[c, i].item(), c, i) for c in range(k) for i in range(n))
    cluster = [-1] * n
    for capacity in (n // k, 1):
        left = [capacity] * k
        for _, c, i in pairs:
            if cluster[i] < 0 and left[c]:
                cluster[i], left[c] = c, left[c] - 1
    return cluster


@pytest.mark.parametrize(('num', 'k'), [(12, 4), (14, 4), (5, 5), (6, 1)])
def test_balanced_assignment(num, k):
    distance = torch.rand(k, num)
    cluster = assign_balanced(distance)
    assert cluster.tolist() == greedy(distance)
    assert set(torch.bincount(cluster, minlength=k).tolist()) <= {num // k, num // k + 1}


def test_temperatures():
    counts = [40, 30, 20, 10, 0, 1]
    features, label = F.normalize(torch.randn(101, 6), dim=1), torch.arange(6).repeat_interleave(torch.tensor(counts))
    density = []
    for c, n in enumerate(counts):
        rows = features[label == c].double()
        distance = [
            math.sqrt(sum((a - b + 1e-6) ** 2 for a, b in zip(x, rows.mean(0).tolist()))) for x in rows.tolist()
        ]
        density.append(sum(distance) / max(n, 1) / math.log(n + 10))
    kept = torch.tensor(density)[[0, 1, 2, 3, 5]].double()
    low, high = kept.quantile(0.2), kept.quantile(0.8)
    expected = [0.1 * d.clamp(low, high) / kept.clamp(low, high).mean() for d in torch.tensor(density).double()]
    got = class_temperatures(features, label, torch.tensor([4, 3, 2, 1, 0, 1]), 0.1)
    torch.testing.assert_close(got[:3], torch.stack(expected)[:3], rtol=1e-6, atol=0)
    assert got[3:].tolist() == [0.1] * 3  # one sub-class, no image, one image
