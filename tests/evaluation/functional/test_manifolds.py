import numpy as np
import pytest

from ltmm.evaluation.functional import (
    eigen_curvature,
    local_concavity,
    manifold_volume,
    nearest_neighbors,
    subspace_angle_curvature,
)
from ltmm.utils.errors import InputError

X = np.random.default_rng(0).normal(size=(150, 5))  # more than one chunk


def test_volume():
    centered = X - X.mean(axis=0)
    expected = np.log2(np.linalg.det(np.eye(5) + 2 * centered.T @ centered / len(X))) / 2
    assert manifold_volume(X, d=2.0) == pytest.approx(expected)
    assert manifold_volume(X[:1]) == manifold_volume(np.ones((9, 5))) == 0
    assert manifold_volume(10 * X) > manifold_volume(X)


def test_nearest_neighbors():
    distance = np.linalg.norm(X[:, None] - X, axis=2) + 1e9 * np.eye(len(X))
    np.testing.assert_array_equal(nearest_neighbors(X, 7), distance.argsort(axis=1)[:, :7])
    twins = np.concatenate([X[:5], X[:5]])
    np.testing.assert_array_equal(nearest_neighbors(twins, 1)[:, 0], [*range(5, 10), *range(5)])


def test_subspace_angle_is_the_formula_point_by_point():
    near, curvature = nearest_neighbors(X, 6), subspace_angle_curvature(X, 6)
    decompositions = [np.linalg.svd(X[n] - X[n].mean(axis=0), full_matrices=False)[:2] for n in near]
    for i in (0, 60, 149):
        (u, s), angles = decompositions[i], []
        for j in near[i]:
            v, t = decompositions[j]
            cosine = np.linalg.norm(u.T @ v, 'nuc') / np.linalg.norm(s) / np.linalg.norm(t)
            angles.append(np.arccos(min(cosine, 1)))
        assert curvature[i] == pytest.approx(np.mean(angles), abs=1e-7)
    assert subspace_angle_curvature(10 * X, 6).mean() > curvature.mean()  # it depends on the scale


@pytest.mark.parametrize('features', [np.ones((12, 5)), np.zeros((12, 5))])
def test_features_without_variance(features):
    assert not subspace_angle_curvature(features, 4).any()
    assert not np.any(eigen_curvature(features, 4, 3)) and not local_concavity(features, 4).any()


@pytest.mark.parametrize(
    'measure, message',
    [
        (lambda: nearest_neighbors(X[:5], 5), 'more than k=5 features of a class, but got 5'),
        (lambda: subspace_angle_curvature(X[:5], 10), 'more than k=10 features'),
        (lambda: nearest_neighbors(X, 0), '`k`'),
        (lambda: eigen_curvature(X[:, :1], 4, 3), 'D >= 2'),
        (lambda: eigen_curvature(X, 4, 1), '`num_components`'),
        (lambda: manifold_volume(X[:0]), r'finite features \(N, D\)'),
        (lambda: manifold_volume(X * np.nan), 'finite features'),
    ],
)
def test_bad_features(measure, message):
    with pytest.raises(InputError, match=message):
        measure()
