"""Plot of the number of images per class."""

from pathlib import Path

import numpy as np

from ltmm.class_distribution import ClassDistribution, Shots

from .style import SHOT_COLORS, new_figure, save_figure

__all__ = ['plot_class_distribution']


def plot_class_distribution(
    distribution: ClassDistribution,
    path: str | Path,
    title: str = '',
    shots: Shots | None = None,
    groups: str = 'shots',
) -> Path:
    """Plot images per class, most frequent first, on a logarithmic axis, with the groups of classes shaded.

    Instances are drawn too if their numbers differ. Classes without samples have no point; the title counts them.

    Args:
        distribution: Class distribution of the training data.
        path: Image file (.png, .pdf, .svg).
        title: Title of the plot.
        shots: Groups to shade. Default: those of :meth:`ltmm.ClassDistribution.groups`.
        groups: See there.
    """
    shaded = shots.items() if shots else distribution.groups(groups)
    order = np.argsort(-distribution.image_counts, kind='stable')
    rank = np.arange(1, len(order) + 1)
    images, instances = distribution.image_counts[order], distribution.instance_counts[order]
    figure, axes = new_figure()
    axes.set_yscale('log')
    for (name, mask), color in zip(shaded, SHOT_COLORS.values()):
        if not mask.any():
            continue
        start, end = rank[mask[order]][[0, -1]]  # a group is a range of ranks
        axes.axvspan(start - 0.5, end + 0.5, color=color, alpha=0.18, linewidth=0)
        axes.annotate(
            f'{name}\n{mask.sum()}',
            ((start + end) / 2, 1),
            (0, -3),
            xycoords=('data', 'axes fraction'),
            textcoords='offset points',
            ha='center',
            va='top',
            fontsize=9,
        )
    marker = 'o' if len(order) <= 30 else None
    if not np.array_equal(images, instances):
        axes.plot(rank, _positive(instances), '.', color='0.45', markersize=2.5, label='instances')
    axes.plot(rank, _positive(images), color='black', linewidth=1.5, marker=marker, markersize=4, label='images')
    if axes.get_legend_handles_labels()[1] != ['images']:
        axes.legend(loc='lower left', frameon=False)
    axes.set_xlim(0.5, len(order) + 0.5)
    axes.set_ylim(images[images > 0].min() * 0.7, instances.max() * 4)  # leaves room for the names of the groups
    axes.yaxis.set_major_formatter('{x:,g}')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel('class, by number of images')
    axes.set_ylabel('training images' if np.array_equal(images, instances) else 'in the training images')
    empty = len(distribution.empty_classes)
    summary = f'{len(order)} classes, {distribution.num_images} images, imbalance {distribution.imbalance_factor:.0f}'
    summary += f', {empty} classes without samples' if empty else ''
    axes.set_title(f'{title}\n{summary}' if title else summary, fontsize=10, loc='left')
    return save_figure(figure, path)


def _positive(counts: np.ndarray) -> np.ndarray:
    """Replace 0 by NaN, which is not drawn."""
    return np.where(counts > 0, counts, np.nan)
