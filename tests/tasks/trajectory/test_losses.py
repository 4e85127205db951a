"""Losses, temperatures and clusters against naive versions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.registry import MODELS
from ltmm.tasks.trajectory import (
    EWTALoss,
    PrototypeContrast,
    cluster_tracks,
    density_temperatures,
    ewta_loss,
    kalman_hardness,
    kalman_prediction,
    prototype_contrast,
    three_modes_contrast,
    toward_x,
)
from ltmm.utils.errors import InputError, MissingInputError


def test_ewta_counts_the_best_of_each_step():
    prediction, target = torch.randn(3, 6, 4, 2, dtype=torch.float64), torch.randn(3, 4, 2, dtype=torch.float64)
    expected = [
        sum(sum(sorted(math.dist(prediction[b, k, t], target[b, t]) for k in range(6))[:2]) for t in range(4))
        for b in range(3)
    ]
    torch.testing.assert_close(ewta_loss(prediction, target, 2), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(ewta_loss(prediction, target, None), ewta_loss(prediction, target, 99))
    prediction = torch.zeros(1, 2, 1, 2, requires_grad=True)  # a perfect prediction has a finite gradient
    ewta_loss(prediction, torch.zeros(1, 1, 2), 1).sum().backward()
    assert prediction.grad.isfinite().all()


def test_ewta_schedule():
    loss = EWTALoss(interval=5)
    winners = []
    for epoch in range(25):
        loss.set_progress(epoch, 25)
        winners.append(loss.num_winners(20))
    assert winners == [20] * 4 + [10] * 5 + [5] * 5 + [2] * 5 + [1] * 6
    prediction, target = torch.randn(2, 20, 3, 2), torch.randn(2, 3, 2)
    torch.testing.assert_close(loss(prediction, target), ewta_loss(prediction, target, 1).mean())
    half = loss(prediction.bfloat16(), target)
    assert half.dtype == torch.float32
    assert loss(prediction[:0], target[:0]) == 0
    with pytest.raises(InputError):
        EWTALoss(interval=0)


def test_kalman_straight_on():
    t = 0.4 * np.arange(20)
    track = np.stack([1.5 * t, -0.5 * t], axis=1)[None] + [[[3, 4]]]
    np.testing.assert_allclose(kalman_prediction(track[:, :8], 12, 0.4), track[:, 8:], atol=0.02)
    turn = track.copy()
    turn[0, 8:, 1] += np.arange(1, 13)
    hardness = kalman_hardness(np.concatenate([track, turn])[:, :8], np.concatenate([track, turn])[:, 8:], 0.4)
    np.testing.assert_allclose(hardness, [0, 12], atol=0.05)
    assert kalman_hardness(np.zeros((0, 8, 2)), np.zeros((0, 12, 2)), 0.4).shape == (0,)


def test_kalman_filters_noise():
    rng = np.random.default_rng(0)
    track = np.stack([0.4 * np.arange(20), np.zeros(20)], axis=1)[None].repeat(500, 0)
    noisy = track[:, :8] + rng.normal(0, 0.05, (500, 8, 2))
    last_step = noisy[:, -1] + 12 * (noisy[:, -1] - noisy[:, -2])
    error = np.linalg.norm(last_step - track[:, -1], axis=1).mean()
    assert kalman_hardness(noisy, track[:, 8:], 0.4).mean() < error / 2


def test_prototype_contrast():
    features, prototypes = F.normalize(torch.randn(4, 5), dim=1), F.normalize(torch.randn(3, 5), dim=1)
    temperature, cluster = torch.tensor([0.1, 0.2, 0.5]), torch.tensor([2, -1, 0, 1])
    loss = prototype_contrast(features, prototypes, temperature, cluster)
    for i, k in enumerate(cluster.tolist()):
        scores = [float(features[i] @ prototypes[j] / temperature[j]) for j in range(3)]
        expected = math.log(sum(map(math.exp, scores))) - scores[k] if k >= 0 else 0.0
        assert float(loss[i]) == pytest.approx(expected, abs=1e-5)
    is_empty = torch.tensor([False, True, False])
    left = prototype_contrast(features, prototypes[[0, 2]], temperature[[0, 2]], torch.tensor([1, -1, 0, -1]))
    torch.testing.assert_close(prototype_contrast(features, prototypes, temperature, cluster, is_empty)[:3], left[:3])


def test_density_temperatures():
    distance = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 0.0, 0.0], dtype=torch.float64)
    cluster = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    temperature = density_temperatures(distance, cluster, 5, 0.1)
    density = np.array([2 / math.log(12), 2 / math.log(13), *[2 / math.log(12)] * 3])
    density = density.clip(*np.quantile(density, [0.1, 0.9]))
    np.testing.assert_allclose(temperature, 0.1 * density / density.mean())
    published = density_temperatures(distance, cluster, 5, 0.1, as_published=True)
    assert (published[2:] == 0).all() and temperature.min() > 0


def test_density_without_pairs():
    temperature = density_temperatures(torch.zeros(2), torch.tensor([0, 1]), 3, 0.1)
    torch.testing.assert_close(temperature, torch.full((3,), 0.1))
    torch.testing.assert_close(
        density_temperatures(torch.zeros(0), torch.zeros(0).long(), 2, 0.1), torch.full((2,), 0.1)
    )


def test_clusters_ignore_heading():
    torch.manual_seed(0)
    time = 0.4 * torch.arange(1, 21, dtype=torch.float64)
    straight = torch.stack([time, torch.zeros_like(time)], dim=1)
    turn = straight.clone()
    turn[8:] = turn[7] + torch.stack([torch.zeros(12), 0.4 * torch.arange(1, 13)], dim=1)
    tracks, angle = torch.stack([straight, turn] * 20), 6.28 * torch.rand(40, dtype=torch.float64)
    rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    tracks = (tracks - tracks[:, 7:8]) @ rotation
    past, future = tracks.split([8, 12], dim=1)
    turned = toward_x(past, future)
    torch.testing.assert_close(turned[:2].repeat(20, 1, 1), turned)
    clusters = cluster_tracks(past, future, (2, 2), seed=0)
    assert clusters.shape == (40, 2) and len(set(clusters[::2, 0].tolist())) == 1
    assert clusters[0, 0] != clusters[1, 0]
    torch.testing.assert_close(clusters, cluster_tracks(past, future, (2, 2), seed=0))
    with pytest.raises(InputError, match='at most one cluster per track'):
        cluster_tracks(past, future, (41,), seed=0)


def test_three_modes_pulls_equal_hardness():
    features, hardness = F.normalize(torch.randn(4, 8), dim=1), torch.tensor([0.0, 0.05, 5.0, 1.0])
    loss = three_modes_contrast(features, hardness)
    cosine = (features @ features.T / 0.1).exp()
    expected = -0.1 / 0.07 * math.log(cosine[0, 1] / (cosine[0, 1] + cosine[0, 2]))
    assert float(loss[0]) == pytest.approx(expected, rel=1e-4)
    assert loss[2] == loss[3] == 0


def fitted(as_published: bool = False, epoch: int = 2) -> PrototypeContrast:
    """Two clusterings of 12 tracks by 3 and 4; clusters 1 and 2 of the second have one track each, 3 none."""
    torch.manual_seed(0)
    loss = MODELS.build(
        dict(
            type='ltmm.PrototypeContrast',
            feat_dim=6,
            num_clusters=(3, 4),
            warmup_epochs=2,
            min_hardness=1.0,
            as_published=as_published,
        )
    )
    loss.clusters.resize(12)
    loss.features.resize(12)
    second = [0] * 10 + [1, 2]
    loss.clusters.values.copy_(torch.tensor([[i % 3, 3 + k] for i, k in enumerate(second)]))
    loss.features.write(torch.arange(12), F.normalize(torch.randn(12, 6), dim=1))
    loss.set_progress(epoch, 20)
    loss.fit_prototypes()
    return loss


def test_contrast_of_hard_tracks():
    loss = fitted()
    index, hardness = torch.tensor([0, 3, 6, 10, 1]), torch.tensor([2.0, 3.0, 0.5, 4.0, 2.0])
    raw = torch.randn(5, 6, requires_grad=True)
    terms = loss(raw, hardness, index)
    v, clusters = F.normalize(raw, dim=1), loss.clusters.values
    prototype = instance = 0.0
    for g, (start, num) in enumerate([(0, 3), (3, 4)]):
        for i in range(5):
            if hardness[i] <= 1:
                continue
            scores = {}
            for k in range(start, start + num):
                members = loss.features.values[clusters[:, g] == k]
                if len(members):
                    mean = F.normalize(members.mean(0), dim=0)
                    scores[k] = float(v[i].detach() @ mean / loss.temperatures.values[k])
            own = int(clusters[index[i], g])
            prototype += math.log(sum(map(math.exp, scores.values()))) - scores[own]
            others = [j for j in range(5) if j != i]
            log_sum = math.log(sum(math.exp(float(v[i].detach() @ v[j]) / 0.1) for j in others))
            positives = [j for j in others if clusters[index[j], g] == own and hardness[j] > 1]
            if positives:
                instance += sum(log_sum - float(v[i].detach() @ v[j]) / 0.1 for j in positives) / len(positives)
    assert float(terms['loss_prototype']) == pytest.approx(prototype / 10, rel=1e-4)
    assert float(terms['loss_instance']) == pytest.approx(instance / 10, rel=1e-4)
    sum(terms.values()).backward()
    assert raw.grad.isfinite().all() and raw.grad.any()


def test_singletons_are_finite_unless_as_published():
    index, hardness, raw = torch.arange(12), torch.full((12,), 2.0), torch.randn(12, 6)
    assert all(term.isfinite() for term in fitted()(raw, hardness, index).values())
    published = fitted(as_published=True)
    assert published.temperatures.values[4:6].max() < 1e-6
    assert not sum(published(raw, hardness, index).values()).isfinite()


def test_contrast_edges():
    loss = fitted()
    for rows in ([], [5]):
        raw = torch.randn(len(rows), 6, requires_grad=True)
        terms = loss(raw, torch.full((len(rows),), 3.0), torch.tensor(rows, dtype=torch.int64))
        sum(terms.values()).backward()
        assert terms['loss_instance'] == 0 and raw.grad.isfinite().all()
    assert (
        loss(torch.randn(3, 6).bfloat16(), torch.ones(3) * 3, torch.arange(3))['loss_instance'].dtype == torch.float32
    )
    loss.features.values[10:] = 0  # tracks that the loader dropped: their clusters have no prototype
    loss.fit_prototypes()
    assert loss.prototypes.counts[4:].tolist() == [0, 0, 0]
    assert all(term.isfinite() for term in loss(torch.randn(12, 6), torch.ones(12) * 3, torch.arange(12)).values())


def test_contrast_schedule():
    loss = PrototypeContrast(feat_dim=4, num_clusters=(2,), warmup_epochs=15)
    seen = {}
    for epoch in range(40):
        loss.set_progress(epoch, 40)
        seen[epoch] = loss.collects, loss.copies, loss.weight() if epoch >= 15 else None
    assert seen[13] == (False, False, None) and seen[14] == (True, True, None)
    assert [seen[e][2] for e in (15, 18, 19, 39)] == [1.0, 1.0, 0.2, 0.2]
    published = PrototypeContrast(feat_dim=4, num_clusters=(2,), warmup_epochs=15, as_published=True)
    published.set_progress(14, 40)
    assert published.collects and not published.copies
    zero = published(torch.randn(2, 4), torch.ones(2), torch.arange(2))
    assert zero == dict(loss_prototype=0, loss_instance=0)
    published.set_progress(15, 40)
    with pytest.raises(MissingInputError, match='PrototypeContrastHook'):
        published(torch.randn(2, 4), torch.ones(2), torch.arange(2))


@pytest.mark.parametrize(
    'change',
    [dict(num_clusters=()), dict(temperature=0.0), dict(warmup_epochs=0), dict(weights=(-1.0,)), dict(interval=0)],
)
def test_contrast_arguments(change: dict):
    with pytest.raises(InputError):
        PrototypeContrast(**{'feat_dim': 4, 'num_clusters': (2,), **change})
