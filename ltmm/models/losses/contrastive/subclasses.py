"""Sub-classes: clusters of the features of each class, of about the size of the rarest class."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.state.prototypes import class_statistics

__all__ = [
    'CLUSTERINGS',
    'balanced_kmeans',
    'class_temperatures',
    'kmeans',
    'split_classes',
    'subclass_counts',
]

EPS = 1e-6  # added to each difference, as PyTorch's pairwise_distance does
BOUNDS = (0.2, 0.8)  # quantiles of the densities
MAX_ITER, TOL = 35, 1e-3  # of k-means
BALANCED_MAX_ITER = 50
EXACT = 'donot_use_mm_for_euclid_dist'


def subclass_counts(counts: Tensor, min_size: int) -> Tensor:
    r"""Compute the number of sub-classes of each class, (C,).

    .. math:: \max(1, \lfloor n_c / \max(\min_j n_j, s) \rfloor)

    It is 0 for a class without images, which the minimum leaves out too.

    Args:
        counts: Images per class, (C,).
        min_size: s.
    """
    size = max(int(counts[counts > 0].min()), min_size)
    return (counts // size).clamp(min=1) * (counts > 0)


def split_classes(features: Tensor, label: Tensor, num_subclasses: Tensor, method: str, seed: int) -> Tensor:
    """Cluster each class and number the clusters of all classes from 0, (N,).

    Args:
        features: Unit vectors, on the CPU, (N, D).
        label: Class indices, (N,).
        num_subclasses: Of each class, (C,).
        method: Name in :data:`CLUSTERINGS`.
        seed: Of the first centers.
    """
    first = num_subclasses.cumsum(0) - num_subclasses  # (C,)
    subclass = first[label]
    rows_of_class = label.argsort(stable=True).split(torch.bincount(label, minlength=len(first)).tolist())
    for c in num_subclasses.gt(1).nonzero().flatten().tolist():
        rows = rows_of_class[c]
        subclass[rows] += CLUSTERINGS[method](features[rows], int(num_subclasses[c]), (seed + c) % 2**32)
    return subclass


def kmeans(features: Tensor, num_clusters: int, seed: int) -> Tensor:
    """Cluster features by scikit-learn's k-means from random features, (N,).

    Args:
        features: (N, D).
        num_clusters: K, at most N.
        seed: Of the choice of the first centers.
    """
    from sklearn import config_context
    from sklearn.cluster import k_means

    options = dict(init='random', n_init=1, max_iter=MAX_ITER, tol=TOL, random_state=seed)
    with config_context(assume_finite=True, skip_parameter_validation=True):  # a third of the time
        _, cluster, _ = k_means(features.numpy(), num_clusters, **options)
    return torch.as_tensor(cluster).long()


def balanced_kmeans(features: Tensor, num_clusters: int, seed: int) -> Tensor:
    """Cluster features into clusters of N // K or one more, (N,), see :func:`assign_balanced`.

    The first centers are those of k-means++. Unlike scikit-learn's, which cannot keep sizes equal, it draws as [1] of
    ``ltmm.SubclassBalancedContrastiveLoss`` does.

    Args:
        features: (N, D).
        num_clusters: K, at most N.
        seed: Of k-means++.
    """
    centers = features[plus_plus(features, num_clusters, seed)]
    for _ in range(BALANCED_MAX_ITER):
        cluster = assign_balanced(torch.cdist(centers, features, compute_mode=EXACT))
        sums = torch.zeros_like(centers).index_add_(0, cluster, features)
        means = sums / torch.bincount(cluster, minlength=num_clusters).unsqueeze(1)
        shift = (means - centers).norm(dim=1).sum()
        centers = means
        if shift**2 < TOL:
            break
    return cluster


def plus_plus(features: Tensor, num: int, seed: int) -> Tensor:
    """Choose rows as the first centers by greedy k-means++: the best of 2 + ln K draws each time, (K,)."""
    generator = torch.Generator().manual_seed(seed)
    rows = [int(torch.randint(len(features), (1,), generator=generator))]
    closest = (features - features[rows]).square().sum(1)  # (N,)
    for _ in range(num - 1):
        draws = torch.rand(2 + int(math.log(num)), generator=generator, dtype=torch.float64) * closest.sum()
        tried = torch.searchsorted(closest.cumsum(0).double(), draws).clamp(max=len(features) - 1)  # (T,)
        distance = torch.cdist(features[tried], features, compute_mode=EXACT).square().minimum(closest)  # (T, N)
        best = distance.sum(1).argmin()
        rows.append(int(tried[best]))
        closest = distance[best]
    return torch.tensor(rows)


def assign_balanced(distance: Tensor) -> Tensor:
    """Assign features to clusters of equal size, the pairs of the largest similarity first, (N,).

    The similarity is 1 / distance, divided by the norm of all those to the cluster. Each of the N % K features left
    over in the end goes to a cluster of its own.

    Args:
        distance: Of each center and feature, (K, N).
    """
    num_clusters, num = distance.shape
    similarity = F.normalize(1 / distance.double().clamp(min=1e-12), dim=1)
    order = (-similarity).flatten().numpy().argsort()
    cluster = np.full(num, -1)
    for capacity in (num // num_clusters, 1):
        pairs, left = order, np.full(num_clusters, capacity)
        while len(pairs := pairs[(cluster[pairs % num] < 0) & (left[pairs // num] > 0)]):
            for k, i in zip(*(part.tolist() for part in np.divmod(pairs[:num], num))):
                if cluster[i] < 0 and left[k]:
                    cluster[i] = k
                    left[k] -= 1
            pairs = pairs[num:]
    return torch.from_numpy(cluster)


def class_temperatures(features: Tensor, label: Tensor, num_subclasses: Tensor, temperature: float) -> Tensor:
    r"""Compute a temperature for each class, higher for a loose class, with mean T, float64, (C,).

    .. math:: T_c = T \frac{d_c}{\mathrm{mean}(d)}, \qquad d_c = \frac{1}{\ln(n_c + 10)} \frac{1}{n_c} \sum_{y_i = c}
        \lVert z_i - \bar z_c + 10^{-6} \rVert

    d is clipped to the 20th and 80th percentile of the classes with images. A class with one sub-class has T.

    Args:
        features: z, unit vectors, (N, D).
        label: Class indices, (N,).
        num_subclasses: Of each class, (C,).
        temperature: T.
    """
    density = class_density(features, label, len(num_subclasses))
    density = density.clamp(*density[num_subclasses > 0].quantile(density.new_tensor(BOUNDS)))
    temperatures = temperature * density / density[num_subclasses > 0].mean()
    return torch.where(num_subclasses > 1, temperatures, temperature)


def class_density(features: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Compute d of :func:`class_temperatures`, before it is clipped, float64, (C,); 0 for classes without images."""
    counts, means, _ = class_statistics(features, label, num_classes)
    density = means.new_zeros(num_classes)
    for feature, c in zip(features.split(2**14), label.split(2**14)):  # float64 copies of a few rows at a time
        density.index_add_(0, c, (feature.double() - means[c] + EPS).norm(dim=1))
    return density / counts.clamp(min=1) / (counts.double() + 10).log()


CLUSTERINGS: dict[str, Callable[[Tensor, int, int], Tensor]] = dict(kmeans=kmeans, balanced=balanced_kmeans)
