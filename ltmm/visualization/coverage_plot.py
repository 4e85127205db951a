"""Coverage and size of conformal sets by group of classes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ltmm.class_distribution import Shots
from ltmm.evaluation.functional import SetCoverage

from .style import RUN_COLORS, new_figure, save_figure

__all__ = ['plot_coverage']


def plot_coverage(coverages: Mapping[str, SetCoverage], shots: Shots, alpha: float, path: str | Path) -> Path:
    """Plot the coverage of all images and of many-, medium- and few-shot classes, and the size of the sets below.

    Args:
        coverages: Results by name, such as of several scores.
        shots: The groups.
        alpha: Share of errors that was asked for, drawn as a line at 1 - alpha.
        path: Image file (.png, .pdf, .svg).
    """
    groups = ('all', *(name for name, mask in shots.items() if mask.any()))
    figure, above = new_figure(5.6, 5.0)
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1))
    above.set_subplotspec(grid[0])
    below = figure.add_subplot(grid[1], sharex=above)
    width, position = 0.8 / len(coverages), np.arange(len(groups))
    for number, ((name, coverage), color) in enumerate(zip(coverages.items(), RUN_COLORS)):
        figures = coverage.figures(shots)
        left = position - 0.4 + (number + 0.5) * width
        shares = [100 * figures['marginal' if group == 'all' else group] for group in groups]
        sizes = [figures['size' if group == 'all' else f'size_{group}'] for group in groups]
        above.bar_label(above.bar(left, shares, width, color=color, label=name), fmt='%.0f', fontsize=8)
        below.bar_label(below.bar(left, sizes, width, color=color), fmt='%.1f', fontsize=8)
    above.axhline(100 * (1 - alpha), color='0.3', linestyle='--', linewidth=1, label=f'{100 * (1 - alpha):g} %')
    above.set_ylim(0, 108)
    above.set_ylabel('coverage (%)')
    above.tick_params(labelbottom=False)
    above.legend(loc='lower left', fontsize=8)
    below.spines[['top', 'right']].set_visible(False)
    below.set_xticks(position, groups)
    below.set_ylabel('size of the sets')
    return save_figure(figure, path)
