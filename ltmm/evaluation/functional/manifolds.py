"""Geometry of the features of one class, its perceptual manifold: volume, density and curvatures.

[0] Ma et al., Curvature-Balanced Feature Manifold Learning for Long-Tailed Classification, CVPR 2023,
    arXiv 2303.12307.
[1] github.com/mayanbiao1234/Geometric-metrics-for-perceptual-manifolds-in-deep-neural-networks @bef2c7ca.
[2] Package `perceptual_manifold_geometry` 0.1.4 of PyPI, by the same authors. Reproduces [1] and [2]
    to 1e-6 (tests/conformance, `curvature`).
"""

from collections.abc import Iterator

import numpy as np

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['eigen_curvature', 'local_concavity', 'manifold_volume', 'nearest_neighbors', 'subspace_angle_curvature']

CHUNK = 128  # points


def manifold_volume(features: np.ndarray, d: float = 1.0) -> float:
    r"""Compute the volume :math:`\frac{1}{2} \log_2 \det(I + \frac{d}{N} (X - \bar X)^T (X - \bar X))` of [2].

    The density of [2] is this divided by N.

    Args:
        features: X, (N, D).
        d: Scale of the covariance; 1 in [2].
    """
    _check_features(features, 1)
    singular = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    return float(np.log2(1 + d / len(features) * singular**2).sum() / 2)


def subspace_angle_curvature(features: np.ndarray, k: int = 10) -> np.ndarray:
    r"""Compute the mean angle between the neighborhood of each point and those of its k neighbors, (N,): [1].

    With the singular values S and the left singular vectors U of the centered neighbors of a point, the angle of points
    i and j is :math:`\arccos \min(\lVert U_i^T U_j \rVert_* / (\lVert S_i \rVert \lVert S_j \rVert), 1)`. It depends on
    the scale of the features, as in [1], and is 0 for small ones and for neighborhoods without extent.

    Args:
        features: (N, D).
        k: Number of neighbors; 10 in [1].
    """
    neighbors = nearest_neighbors(features, k)
    bases = np.concatenate([np.linalg.svd(x, full_matrices=False)[0] for x in _neighborhoods(features, neighbors)])
    extents = np.concatenate([np.linalg.norm(x, axis=(1, 2)) for x in _neighborhoods(features, neighbors)])  # (N,)
    curvature = []
    for i in range(0, len(features), CHUNK):
        near = neighbors[i : i + CHUNK]
        overlap = np.swapaxes(bases[i : i + CHUNK], 1, 2)[:, None] @ bases[near]  # (B, k, r, r)
        scale = extents[i : i + CHUNK, None] * extents[near]  # (B, k)
        nuclear = np.linalg.svd(overlap, compute_uv=False).sum(-1)
        cosine = np.divide(nuclear, scale, out=np.ones_like(scale), where=scale > 0)
        curvature.append(np.arccos(np.clip(cosine, -1, 1)).mean(axis=1))
    return np.concatenate(curvature)


def eigen_curvature(features: np.ndarray, k: int, num_components: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ``'gaussian'`` and the ``'mean'`` curvature at each point, (N,) and (N,): [2].

    Other estimators of [2], to compare with its figures; the report has those of [1] and of ``ltmm.CurvatureLoss``.
    They are the product and the mean of the first two eigenvalues, in the order of LAPACK, of the covariance of the
    columns of the Gram matrix of the principal coordinates of the neighbors. In [2] every call gives ``'mean'``.

    Args:
        features: (N, D), D >= 2.
        k: Number of neighbors, at least 2.
        num_components: Number of principal coordinates, at least 2; at most k and D are used.
    """
    check(k=(k, 'int >= 2'), num_components=(num_components, 'int >= 2'))
    _check_features(features, 2)
    gaussian, mean = [], []
    for centered in _neighborhoods(features, nearest_neighbors(features, k)):
        singular = np.linalg.svd(centered, compute_uv=False)[:, :num_components]  # (B, m)
        gram = singular[:, None] ** 2 * np.eye(singular.shape[1])  # (B, m, m)
        columns = gram - gram.mean(axis=-1, keepdims=True)
        eigenvalues = np.linalg.eigvals(columns @ np.swapaxes(columns, 1, 2) / gram.shape[1]).real
        gaussian.append(eigenvalues[:, 0] * eigenvalues[:, 1])
        mean.append(eigenvalues[:, :2].mean(axis=1))
    return np.concatenate(gaussian), np.concatenate(mean)


def local_concavity(features: np.ndarray, k: int) -> np.ndarray:
    """Compute the mean variance of each neighborhood with its point, without the first feature, (N,): [2].

    To compare with figures of [2], which calls the mean over the points ``'PCA'``. It drops the first column where the
    first row was meant.

    Args:
        features: (N, D), D >= 2.
        k: Number of neighbors.
    """
    _check_features(features, 2)
    hood = np.column_stack([np.arange(len(features)), nearest_neighbors(features, k)])  # (N, k + 1)
    chunks = (features[hood[i : i + CHUNK], 1:] for i in range(0, len(hood), CHUNK))
    return np.concatenate([x.var(axis=1, ddof=1).mean(axis=1) for x in chunks])


def nearest_neighbors(features: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other points of each point, nearest first, (N, k).

    Args:
        features: (N, D), N > k.
        k: Number of neighbors.
    """
    check(k=(k, 'int >= 1'))
    _check_features(features, 1)
    if len(features) <= k:
        raise InputError(f'Expected more than k={k} features of a class, but got {len(features)}.')
    features = features - features.mean(axis=0)  # less cancellation
    square = (features**2).sum(axis=1)
    nearest = []
    for i in range(0, len(features), CHUNK):
        distance = square - 2 * features[i : i + CHUNK] @ features.T  # (B, N), without the square of the point
        rows = np.arange(len(distance))
        distance[rows, i + rows] = np.inf
        nearest.append(np.argsort(distance, axis=1, kind='stable')[:, :k])
    return np.concatenate(nearest)


def _neighborhoods(features: np.ndarray, neighbors: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the centered neighbors of some points at a time, (B, k, D)."""
    for i in range(0, len(neighbors), CHUNK):
        hood = features[neighbors[i : i + CHUNK]]
        yield hood - hood.mean(axis=1, keepdims=True)


def _check_features(features: np.ndarray, width: int) -> None:
    if features.ndim != 2 or features.shape[1] < width or not len(features) or not np.isfinite(features).all():
        raise InputError(f'Expected finite features (N, D) with N >= 1 and D >= {width}, but got {features.shape}.')
