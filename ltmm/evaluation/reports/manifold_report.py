"""Volume, density and curvature of the features of each class."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import torch

from ltmm.class_distribution import ClassDistribution
from ltmm.evaluation.functional.manifolds import manifold_volume, nearest_neighbors, subspace_angle_curvature
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['MANIFOLD_MEASURES', 'manifold_csv', 'manifold_rows', 'manifold_summary']

MANIFOLD_MEASURES = ('volume', 'density', 'curvature', 'gaussian_curvature')
DIM = 3  # as by default in ltmm.CurvatureLoss


def manifold_rows(
    features: np.ndarray,
    label: np.ndarray,
    distribution: ClassDistribution,
    k: int = 10,
    max_features: int = 500,
    normalize: bool = True,
) -> list[dict]:
    """Return the measures of each class, most frequent first; those of classes with too few features are NaN.

    See :mod:`ltmm.evaluation.functional.manifolds`. The density is the volume over the number of all features of a
    class. A volume and a density need two features, a curvature k + 1.

    ``'curvature'`` is the mean angle of [1] there; ``'gaussian_curvature'`` is what :class:`ltmm.models.CurvatureLoss`
    makes equal, in three principal axes of all classes.

    Args:
        features: (N, D).
        label: Class indices, (N,).
        distribution: Of the training data.
        k: Neighbors of both curvatures.
        max_features: Features of a class at most, evenly spaced over its rows.
        normalize: Scale all features to a mean variance of 1. The measures depend on the scale: networks can be
            compared then, and the curvature is seldom cut off at 0.
    """
    check(k=(k, 'int >= 1'), max_features=(max_features, 'int >= 2'))
    if len(features) != len(label) or label.min() < 0 or label.max() >= len(distribution):
        raise InputError(
            f'Expected a label in [0, {len(distribution)}) for each of {len(features)} features, but got '
            f'{len(label)} from {label.min()} to {label.max()}.'
        )
    features = features.astype(np.float64)
    if normalize:
        features = features - features.mean(axis=0)
        scale = np.sqrt((features**2).mean())
        features = features / (scale if scale > 0 else 1)
    members = [np.flatnonzero(label == c) for c in range(len(distribution))]
    taken = [own[np.linspace(0, len(own) - 1, min(len(own), max_features)).astype(int)] for own in members]
    gaussian = _gaussian_curvatures([features[own] for own in taken], k)
    rows = []
    for row in distribution.rows():
        c = row['label']
        points = features[taken[c]]
        volume = manifold_volume(points) if len(points) > 1 else np.nan
        curvature = subspace_angle_curvature(points, k).mean() if len(points) > k else np.nan
        density = volume / max(len(members[c]), 1)
        measures = dict(volume=volume, density=density, curvature=float(curvature), gaussian_curvature=gaussian[c])
        rows.append(dict(row, features=len(points), **measures))
    return rows


def _gaussian_curvatures(features: Sequence[np.ndarray], k: int) -> list[float]:
    """Mean curvature of each class as in ``ltmm.CurvatureLoss``, in the principal axes of all; NaN with too few."""
    from ltmm.models.losses.contrastive.curvature_loss import gaussian_curvature, principal_coordinates

    pool = torch.from_numpy(np.concatenate(features))
    points = principal_coordinates(pool, torch.ones(len(pool), dtype=torch.bool), min(DIM, pool.size(1)))
    return [
        float(gaussian_curvature(own, torch.from_numpy(nearest_neighbors(own.numpy(), k))).mean())
        if len(own) > k
        else np.nan
        for own in points.split([len(own) for own in features])
    ]


def manifold_summary(rows: Sequence[dict]) -> str:
    """Return the means over many-, medium- and few-shot classes, and the rank correlations with the training images.

    Args:
        rows: See :func:`manifold_rows`.
    """
    lines = [f'{"":<20}{"classes":>8}' + ''.join(f'{name:>20}' for name in MANIFOLD_MEASURES)]
    for shot in dict.fromkeys(row['shot'] for row in rows):
        group = [row for row in rows if row['shot'] == shot]
        values = (_mean([row[name] for row in group]) for name in MANIFOLD_MEASURES)
        lines.append(f'{shot:<20}{len(group):>8}' + ''.join(f'{value:>20.4g}' for value in values))
    images = np.array([row['images'] for row in rows])
    correlations = (rank_correlation(images, np.array([row[name] for row in rows])) for name in MANIFOLD_MEASURES)
    lines.append(f'{"correlation":<28}' + ''.join(f'{value:>20.2f}' for value in correlations))
    left_out = sum(np.isnan(row['curvature']) for row in rows)
    return '\n'.join([*lines, f'{left_out} of {len(rows)} classes have too few features for a curvature.'])


def manifold_csv(rows: Sequence[dict]) -> str:
    """Return the text of a CSV file with one row per class; NaN is empty.

    Args:
        rows: See :func:`manifold_rows`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows({k: '' if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Spearman's correlation without NaN of y, (C,) and (C,); NaN where either is constant."""
    known = ~np.isnan(y)
    ranks = [_ranks(values[known]) for values in (x, y)]
    if known.sum() < 2 or any(np.ptp(r) == 0 for r in ranks):
        return float('nan')
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value; equal ones share the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float('nan')
