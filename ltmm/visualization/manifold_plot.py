"""Plot of the geometry of class manifolds against the number of training images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ltmm.evaluation.reports.manifold_report import MANIFOLD_MEASURES

from .style import SHOT_COLORS, new_figure, save_figure

__all__ = ['plot_manifolds']

ZERO_AT = 0.5  # position of classes without training images on the logarithmic axis


def plot_manifolds(rows: Sequence[dict], path: str | Path, title: str = '') -> Path:
    """Plot volume, density and curvatures of each class, a point per class, colored by its group.

    Args:
        rows: See :func:`ltmm.evaluation.reports.manifold_rows`.
        path: Image file (.png, .pdf, .svg).
        title: Title of the plot.
    """
    figure, first = new_figure(3.3 * len(MANIFOLD_MEASURES), 3.6)
    grid = figure.add_gridspec(1, len(MANIFOLD_MEASURES))
    first.set_subplotspec(grid[0])
    axes = [first, *(figure.add_subplot(part) for part in list(grid)[1:])]
    for each, name in zip(axes, MANIFOLD_MEASURES):
        for shot, color in SHOT_COLORS.items():
            group = [row for row in rows if row['shot'] == shot]
            images = np.maximum([row['images'] for row in group], ZERO_AT)
            each.scatter(images, [row[name] for row in group], s=18, color=color, linewidths=0, label=f'{shot}-shot')
        each.set_xscale('log')
        each.set_xlabel('training images of the class')
        each.set_ylabel(name.replace('_', ' '))
        each.spines[['top', 'right']].set_visible(False)
        each.grid(axis='y', color='0.9', linewidth=0.8)
        each.set_axisbelow(True)
    first.legend(fontsize=9)
    first.set_title(title, fontsize=10, loc='left')
    return save_figure(figure, path)
