"""Clusters of trajectories, and how tight each of them is."""

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['cluster_tracks', 'density_temperatures', 'toward_x']

MAX_ITER, NUM_STARTS = 20, 5  # of k-means
BOUNDS = (0.1, 0.9)  # quantiles of the densities


def toward_x(past: Tensor, future: Tensor) -> Tensor:
    """Rotate tracks so that they head along x at the last observation, (N, T + H, 2).

    Args:
        past: Positions relative to the last observed one, (N, T, 2).
        future: (N, H, 2).
    """
    x, y = (past[:, -1] - past[:, -2]).unbind(1)
    angle = torch.atan2(y, x)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)  # a row vector times it turns back
    return torch.cat([past, future], dim=1) @ rotation


def cluster_tracks(past: Tensor, future: Tensor, num_clusters: tuple[int, ...], seed: int) -> Tensor:
    """Cluster whole tracks by their shape, by scikit-learn's k-means, once per granularity, (N, G).

    Rare manoeuvres get clusters of their own, without a label: their futures differ from those of all others.

    Args:
        past: Positions relative to the last observed one, (N, T, 2).
        future: (N, H, 2).
        num_clusters: Of each granularity, (G,).
        seed: Of the first centers.
    """
    check_extra('features', 'sklearn')
    from sklearn.cluster import KMeans

    if max(num_clusters) > len(past):
        raise InputError(f'Expected at most one cluster per track ({len(past)}), but got num_clusters={num_clusters}.')
    points = toward_x(past.double(), future.double()).flatten(1).cpu().numpy()
    options = dict(max_iter=MAX_ITER, n_init=NUM_STARTS, random_state=seed % 2**32)
    clusters = [KMeans(num, **options).fit_predict(points) for num in num_clusters]
    return torch.as_tensor(np.stack(clusters, axis=1)).long()


def density_temperatures(
    distance: Tensor, cluster: Tensor, num_clusters: int, temperature: float, as_published: bool = False
) -> Tensor:
    r"""Compute a temperature for each cluster, higher for a loose one, with mean T, (K,).

    .. math:: T_k = T \frac{d_k}{\mathrm{mean}(d)}, \qquad
        d_k = \frac{1}{\ln(n_k + 10)} \frac{1}{n_k} \sum_{i \in k} \lVert z_i - c_k \rVert

    A cluster of less than two tracks gets the largest d of the others; then all are clipped to the 10th and 90th
    percentile. Where all are 0, as where no cluster has two tracks, each has T.

    Args:
        distance: Of each track to the center of its cluster, (N,).
        cluster: Indices, (N,).
        num_clusters: K.
        temperature: T.
        as_published: Leave the d of a single track as it is, which is 0: the temperatures are 0, and the loss is not
            a number, if more than a tenth of the clusters are such.
    """
    counts = torch.bincount(cluster, minlength=num_clusters)
    sums = distance.new_zeros(num_clusters).index_add_(0, cluster, distance)
    density = sums / counts.clamp(min=1) / (counts + 10).to(sums).log()
    if not as_published:
        is_loose = counts > 1
        density = torch.where(is_loose, density, density.masked_fill(~is_loose, 0).max())
    density = density.clamp(*density.quantile(density.new_tensor(BOUNDS)))
    temperatures = temperature * density / density.mean()
    return temperatures if as_published else torch.where(density > 0, temperatures, temperature)
