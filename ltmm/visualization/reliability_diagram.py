"""Reliability diagram: accuracy against confidence."""

from pathlib import Path

import numpy as np

from ltmm.evaluation.functional import CalibrationBins, expected_calibration_error, maximum_calibration_error

from .style import RUN_COLORS, new_figure, save_figure

__all__ = ['plot_reliability_diagram']


def plot_reliability_diagram(bins: CalibrationBins, path: str | Path, title: str = '') -> Path:
    """Plot accuracy, the gap to the mean confidence, and the share of images per confidence bin.

    Args:
        bins: Bins of :func:`ltmm.evaluation.functional.calibration_bins`, (B,).
        path: Image file (.png, .pdf, .svg).
        title: Title of the plot.
    """
    figure, above = new_figure(4.6, 5.4)
    grid = figure.add_gridspec(2, 1, height_ratios=(3.2, 1))
    above.set_subplotspec(grid[0])
    below = figure.add_subplot(grid[1], sharex=above)
    edges = np.linspace(0, 1, len(bins.count) + 1)
    width, filled = edges[1], bins.count > 0
    accuracy, confidence, left = bins.accuracy[filled], bins.confidence[filled], edges[:-1][filled]
    above.bar(left, accuracy, width, align='edge', color=RUN_COLORS[0], edgecolor='white', label='accuracy')
    above.bar(
        left,
        confidence - accuracy,
        width,
        accuracy,
        align='edge',
        color='none',
        edgecolor=RUN_COLORS[1],
        hatch='////',
        label='gap to mean confidence',
    )
    above.plot([0, 1], [0, 1], color='0.3', linestyle='--', linewidth=1, label='perfect calibration')
    above.set_ylim(0, 1)
    above.set_ylabel('accuracy')
    above.tick_params(labelbottom=False)
    above.legend(loc='upper left', fontsize=9)

    total = bins.count.sum()
    means = {'accuracy': bins.hits.sum() / total, 'confidence': bins.confidence_sum.sum() / total}
    below.bar(edges[:-1], bins.count / total, width, align='edge', color='0.75', edgecolor='white')
    for (name, mean), color, style in zip(means.items(), RUN_COLORS, ('-', '--')):
        below.axvline(mean, color=color, linestyle=style, linewidth=1.5, label=f'mean {name}')
    below.spines[['top', 'right']].set_visible(False)
    below.set_xlim(0, 1)
    below.set_xlabel('confidence')
    below.set_ylabel('share of images')
    below.legend(loc='best', fontsize=8)

    figures = {**means, 'ECE': expected_calibration_error(bins), 'MCE': maximum_calibration_error(bins)}
    summary = ', '.join(f'{name} {100 * value:.2f}' for name, value in figures.items())
    above.set_title(f'{title}\n{summary}' if title else summary, fontsize=10, loc='left')
    return save_figure(figure, path)
