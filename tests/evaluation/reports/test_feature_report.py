import sys

import numpy as np
import pytest

from ltmm.evaluation.reports import (
    balanced_rows,
    feature_rows,
    feature_summary,
    project_features,
    unit_length,
)
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

pytest.importorskip('sklearn')
SHOTS = Shots(*(np.array(mask, bool) for mask in ([1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1])))
LABEL = np.repeat(np.arange(5), [40, 30, 12, 9, 7])[::-1].copy()


def clusters(per_class: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features in six dimensions around a center per class, (5 per_class, 6), and their labels, mixed."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(5), per_class))
    return rng.normal(size=(5, 6))[label] + spread * rng.normal(size=(len(label), 6)), label


@pytest.mark.parametrize(('per_class', 'left'), [(7, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3]), (12, [0, 1, 2])])
def test_drawn_rows_are_balanced(per_class, left):
    rows = balanced_rows(LABEL, SHOTS, per_class)
    assert len(set(rows)) == len(rows) and (np.diff(rows) > 0).all()
    classes, counts = np.unique(LABEL[rows], return_counts=True)
    assert classes.tolist() == left and set(counts) == {per_class}


def test_drawn_rows_follow_the_seed():
    draws = [balanced_rows(LABEL, SHOTS, 5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    drawn = {tuple(np.unique(LABEL[balanced_rows(LABEL, SHOTS, 5, 1, seed)])) for seed in range(20)}
    assert drawn == {(many, 2, few) for many in (0, 1) for few in (3, 4)}


def test_more_rows_than_any_class_has():
    with pytest.raises(InputError, match='with 41 images, but none has more than 40'):
        balanced_rows(LABEL, SHOTS, 41)


def naive_measures(features, label, k):
    hits, silhouettes = [], []
    for i, x in enumerate(features):
        distance = np.linalg.norm(features - x, axis=1)
        others = [j for j in np.argsort(distance, kind='stable') if j != i]
        votes = np.zeros(5)
        for j in others[:k]:
            votes[label[j]] += 1 / distance[j]
        hits.append(100.0 * (votes.argmax() == label[i]))
        means = {c: np.mean([distance[j] for j in others if label[j] == c]) for c in range(5)}
        a = means.pop(label[i])
        b = min(means.values())
        silhouettes.append((b - a) / max(a, b))
    return np.array(hits), np.array(silhouettes)


@pytest.mark.parametrize(('spread', 'k'), [(0.4, 1), (0.8, 5), (3.0, 8)])
def test_measures_equal_their_definition(spread, k):
    features, label = clusters(9, spread)
    expected = naive_measures(features, label, k)
    rows = feature_rows(features, label, SHOTS, k)
    assert [(row['group'], row['classes']) for row in rows] == [('all', 5), ('many', 2), ('medium', 1), ('few', 2)]
    for row in rows:
        members = np.ones(5, bool) if row['group'] == 'all' else getattr(SHOTS, row['group'])
        for key, values in zip(('accuracy', 'silhouette'), expected):
            of_class = np.array([values[label == c].mean() for c in np.flatnonzero(members)])
            assert row[key] == pytest.approx(of_class.mean())
            error = of_class.std(ddof=1) / np.sqrt(len(of_class)) if len(of_class) > 1 else np.nan
            assert row[f'{key}_error'] == pytest.approx(error, nan_ok=True)


def test_features_that_know_nothing_of_the_class():
    features, label = clusters(60, 0.1)
    known, unknown = (feature_rows(features, each, SHOTS)[0] for each in (label, np.random.permutation(label)))
    assert known['accuracy'] > 99 and known['silhouette'] > 0.7
    assert abs(unknown['accuracy'] - 20) < 10 and unknown['silhouette'] < 0


def test_summary_has_no_error_of_a_single_class():
    features, label = clusters(9, 0.4)
    lines = feature_summary('two', feature_rows(features, label, SHOTS, 3)).splitlines()
    assert lines[0] == 'two' and [line.count('±') for line in lines[2:]] == [2, 2, 0, 2] and 'nan' not in lines[4]


def test_bad_features():
    features, label = clusters(4, 1.0)
    with pytest.raises(InputError, match='3 to 4 of each'):
        feature_rows(features[1:], label[1:], SHOTS, 3)
    with pytest.raises(InputError, match='more than k=20'):
        feature_rows(features, label, SHOTS, 20)
    features[3, 2] = np.nan
    with pytest.raises(InputError, match='1 features are not finite'):
        feature_rows(features, label, SHOTS, 3)


def test_unit_length_keeps_zeros():
    features = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(unit_length(features), [[0.6, 0.8], [0, 0]])


def test_pca_keeps_the_largest_variance():
    features, _ = clusters(8, 1.0)
    points = project_features(features, 'pca', perplexity=5)
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), singular)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-9)


@pytest.mark.parametrize('method', ['tsne', pytest.param('umap', marks=pytest.mark.slow)])
def test_neighbors_stay_neighbors(method):
    if method == 'umap':
        pytest.importorskip('umap')
    features, label = clusters(12, 0.1)
    points = project_features(features, method, perplexity=6, seed=3)
    assert points.shape == (60, 2)
    distance = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(60)
    assert (label[distance.argmin(axis=1)] == label).mean() > 0.95
    np.testing.assert_array_equal(points, project_features(features, method, perplexity=6, seed=3))


def test_umap_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'umap', None)
    monkeypatch.setattr('ltmm.utils.environment.find_spec', lambda name: None if name == 'umap' else True)
    with pytest.raises(EnvironmentProblem, match=r'umap is not installed. Install the extra umap'):
        project_features(clusters(12, 1.0)[0], 'umap')


def test_perplexity_of_too_few_images():
    with pytest.raises(InputError, match='below the 20 images, but got 30'):
        project_features(clusters(4, 1.0)[0], 'tsne')
