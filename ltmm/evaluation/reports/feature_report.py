"""How well features separate the classes of each group, and their projection to two dimensions, by scikit-learn."""

from collections.abc import Sequence

import numpy as np

from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

__all__ = [
    'PROJECTIONS',
    'balanced_rows',
    'check_projection',
    'feature_rows',
    'feature_summary',
    'project_features',
    'unit_length',
]

PROJECTIONS = dict(tsne='t-SNE', umap='UMAP', pca='PCA')


def balanced_rows(
    label: np.ndarray, shots: Shots, per_class: int, classes_per_group: int | None = None, seed: int = 0
) -> np.ndarray:
    """Draw ``per_class`` rows of each class, sorted by row; classes with fewer are left out.

    Args:
        label: Class indices, (N,).
        shots: Groups of the C classes.
        per_class: Rows of each class.
        classes_per_group: Classes that are drawn of each group. Default: all.
        seed: Seed of both draws.
    """
    check(per_class=(per_class, 'int >= 2'), classes_per_group=(classes_per_group, 'int >= 1 or None'))
    counts = np.bincount(label, minlength=len(shots.many))
    if counts.max(initial=0) < per_class:
        raise InputError(
            f'Expected a class with {per_class} images, but none has more than {counts.max(initial=0)}. '
            'Take fewer (`per_class`), or a split with more images.'
        )
    rng = np.random.default_rng(seed)
    rows = []
    for _, mask in shots.items():
        classes = np.flatnonzero(mask & (counts >= per_class))
        if classes_per_group is not None and len(classes) > classes_per_group:
            classes = np.sort(rng.choice(classes, classes_per_group, replace=False))
        rows += [rng.choice(np.flatnonzero(label == c), per_class, replace=False) for c in classes]
    return np.sort(np.concatenate(rows))


def unit_length(features: np.ndarray) -> np.ndarray:
    """Scale each feature to length 1; one of zeros stays. Distances rank neighbors as cosines do then."""
    features = features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def feature_rows(features: np.ndarray, label: np.ndarray, shots: Shots, k: int = 10) -> list[dict]:
    """Return two measures for all classes and for each group, in the whole space of the features.

    ``'accuracy'``: share of features, in percent, whose k nearest neighbors among the others, weighted by one over
    their distance, vote for their class. ``'silhouette'``: mean over features of (b - a) / max(a, b), with the mean
    distance a to the own class and b to the nearest other class; from -1 to 1. The errors are standard errors over the
    classes of the group, NaN for one class.

    Args:
        features: (N, D), of equally many samples of each class: other classes vote with more neighbors otherwise.
        label: Class indices, (N,).
        shots: Groups of the C classes.
        k: Number of neighbors.
    """
    check_extra('features', 'sklearn')
    from sklearn.metrics import silhouette_samples
    from sklearn.neighbors import KNeighborsClassifier

    check(k=(k, 'int >= 1'))
    classes, counts = np.unique(label, return_counts=True)
    if len(classes) < 2 or len(set(counts)) > 1 or k >= len(label):
        raise InputError(
            f'Expected equally many features of at least two classes, more than k={k}, but got {len(label)} of '
            f'{len(classes)} classes, {counts.min()} to {counts.max()} of each.'
        )
    if not np.isfinite(features).all():
        raise InputError(f'{int((~np.isfinite(features)).any(axis=1).sum())} features are not finite.')
    found = KNeighborsClassifier(k, weights='distance').fit(features, label).predict(None)  # None: without itself
    hits, silhouettes = 100.0 * (found == label), silhouette_samples(features, label)
    of_class = {c: (hits[label == c].mean(), silhouettes[label == c].mean()) for c in classes}
    rows = []
    for name, mask in [('all', np.ones_like(shots.many)), *shots.items()]:
        values = np.array([of_class[c] for c in classes if mask[c]]).reshape(-1, 2)
        if not len(values):
            continue
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(2, np.nan)
        means, errors = values.mean(axis=0), spread / np.sqrt(len(values))
        rows.append(
            dict(
                group=name,
                classes=len(values),
                accuracy=float(means[0]),
                accuracy_error=float(errors[0]),
                silhouette=float(means[1]),
                silhouette_error=float(errors[1]),
            )
        )
    return rows


def feature_summary(name: str, rows: Sequence[dict]) -> str:
    """Return a table of :func:`feature_rows` under the name of the features."""
    lines = [name, f'{"":<10}{"classes":>8}{"k-NN accuracy (%)":>20}{"silhouette":>18}']
    for row in rows:
        accuracy, silhouette = (
            f'{row[key]:.{digits}f} ± {row[f"{key}_error"]:.{digits}f}'
            for key, digits in (('accuracy', 1), ('silhouette', 3))
        )
        lines.append(f'{row["group"]:<10}{row["classes"]:>8}{accuracy:>20}{silhouette:>18}'.replace(' ± nan', ''))
    return '\n'.join(lines)


def check_projection(num_features: int, method: str, perplexity: float) -> None:
    """Raise an error if :func:`project_features` could not project so many features, or a package is missing."""
    check(method=(method, PROJECTIONS), perplexity=(perplexity, '>= 2'))
    if method != 'pca' and perplexity >= num_features:
        raise InputError(
            f'Expected `perplexity` to be below the {num_features} images, but got {perplexity}. Lower it, or '
            'take more images per class (`per_class`).'
        )
    check_extra('features', 'sklearn')
    if method == 'umap':
        check_extra('umap', 'umap')


def project_features(features: np.ndarray, method: str, perplexity: float = 30, seed: int = 0) -> np.ndarray:
    """Project features to two dimensions, (N, 2).

    Args:
        features: (N, D).
        method: ``'tsne'``, ``'umap'`` (package umap-learn) or ``'pca'``.
        perplexity: Of t-SNE; the number of neighbors of UMAP, rounded; PCA has no such setting.
        seed: Seed of t-SNE and UMAP.
    """
    check_projection(len(features), method, perplexity)
    if method == 'umap':
        from umap import UMAP

        model = UMAP(n_neighbors=round(perplexity), random_state=seed, n_jobs=1)
    elif method == 'tsne':
        from sklearn.manifold import TSNE

        model = TSNE(perplexity=perplexity, random_state=seed)
    else:
        from sklearn.decomposition import PCA

        model = PCA(2)
    return np.asarray(model.fit_transform(features), dtype=np.float64)
