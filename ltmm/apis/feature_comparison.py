"""Compare the features of several networks: a figure, and how well each separates frequent and rare classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ltmm.evaluation.reports.feature_report import (
    PROJECTIONS,
    balanced_rows,
    check_projection,
    feature_rows,
    feature_summary,
    project_features,
    unit_length,
)
from ltmm.utils.shots import group_classes
from ltmm.visualization.feature_plot import plot_features
from ltmm.visualization.style import check_image_file

from .feature_sources import FeatureSource

__all__ = ['compare_features']


def compare_features(
    sources: Sequence[FeatureSource],
    path: Path,
    split: str,
    *,
    method: str = 'tsne',
    perplexity: float = 30,
    per_class: int = 20,
    classes_per_group: int | None = None,
    k: int = 10,
    normalize: bool = True,
    seed: int = 0,
) -> list[list[dict]]:
    """Plot the features of the same images, a panel per network, and print the measures of each.

    Many-shot classes have more than 100 training images, few-shot ones fewer than 20; if this puts all classes into
    one group, the groups are thirds of the classes.

    Args:
        sources: See :func:`ltmm.apis.feature_sources.open_sources`.
        path: Image file (.png, .pdf, .svg).
        split: Name of the split, for the title.
        method: See :func:`ltmm.evaluation.reports.project_features`.
        perplexity: See there.
        per_class: Images of each class; see :func:`ltmm.evaluation.reports.balanced_rows`.
        classes_per_group: See there.
        k: See :func:`ltmm.evaluation.reports.feature_rows`.
        normalize: Scale each feature to length 1.
        seed: Seed of the images and of the projection.

    Returns:
        Measures of each network.
    """
    check_image_file(path)
    label, distribution = sources[0].label, sources[0].distribution
    shots = group_classes(distribution.image_counts, 'auto')
    rows = balanced_rows(label, shots, per_class, classes_per_group, seed)
    check_projection(len(rows), method, perplexity)
    chosen = label[rows]
    drawn = np.bincount(chosen, minlength=len(distribution)) > 0
    for group, mask in shots.items():
        short = int((mask & (np.bincount(label, minlength=len(mask)) < per_class)).sum())
        if short:
            print(f'{short} {group}-shot classes with fewer than {per_class} images in {split} are left out.')
    points, measures = {}, []
    for source in sources:
        features = source.features(rows)
        features = unit_length(features) if normalize else features
        measures.append(feature_rows(features, chosen, shots, k))
        print(feature_summary(source.name, measures[-1]))
        accuracies = ', '.join(f'{row["group"]} {row["accuracy"]:.1f}' for row in measures[-1])
        points[f'{source.name}\n{k}-NN accuracy (%): {accuracies}'] = project_features(
            features, method, perplexity, seed
        )
    setting = dict(tsne=f', perplexity {perplexity:g}', umap=f', {round(perplexity)} neighbors', pca='')[method]
    size = 'features of length 1' if normalize else 'features as they are'
    title = f'{PROJECTIONS[method]}{setting}, seed {seed}: {len(rows)} images of {split}, {per_class} per class, {size}'
    print(f'By chance: {100 / drawn.sum():.1f} % of {drawn.sum()} classes.')
    print(f'Wrote {plot_features(points, chosen, shots, path, title, distribution.class_names)}')
    return measures
