"""A figure of each class over its training images, for several runs in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from .style import RUN_COLOURS, new_figure, save_figure

__all__ = ['ClassFigures', 'plot_against_frequency']

ZERO_AT = 0.5  # where a class without a training image stands on a logarithmic axis


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """What a run can do on each of C classes.

    Args:
        name: of the run.
        train_images: training images of each class, (C,).
        values: the figure of each class in percent, NaN where it was not tested, (C,).
        groups: names of groups of classes, most frequent first, and their masks, (C,).
    """

    name: str
    train_images: np.ndarray
    values: np.ndarray
    groups: Sequence[tuple[str, np.ndarray]]


def plot_against_frequency(runs: Sequence[ClassFigures], path: str | Path, ylabel: str, title: str = '') -> Path:
    """Draw the figure of each class over its training images: a point a class, a smooth curve a run.

    Args:
        runs: the runs, seven at the most for one colour each.
        path: picture to write (.png, .pdf, .svg).
        ylabel: what the figure is.
        title: what the data are.

    Raises:
        ValueError: more runs than colours, or a run without a tested class.
    """
    if len(runs) > len(RUN_COLOURS):
        raise ValueError(f'Expected at most {len(RUN_COLOURS)} runs in one picture, but got {len(runs)}.')
    figure, axes = new_figure()
    axes.set_xscale('log')
    without_images = False
    for run, colour in zip(runs, RUN_COLOURS):
        tested = ~np.isnan(run.values)
        if not tested.any():
            raise ValueError(f'Expected {run.name} to have a figure for a class, but it has none.')
        images, values = np.maximum(run.train_images[tested], ZERO_AT), run.values[tested]
        without_images |= bool((run.train_images[tested] == 0).any())
        # the points of ten classes stand before the curves, those of thousands are a haze behind them
        size, alpha = np.clip(900 / len(values), 4, 30), np.clip(25 / len(values), 0.04, 0.9)
        before = 3 if len(values) <= 30 else 1
        axes.scatter(images, values, s=size, color=colour, alpha=alpha, linewidths=0, zorder=before)
        halo = [Stroke(linewidth=4, foreground='white'), Normal()]
        axes.plot(*_smooth(images, values), color=colour, linewidth=2.2, label=run.name, path_effects=halo)
    _mark_groups(axes, runs)
    axes.set_ylim(-2, 114)  # room for the names of the groups
    axes.set_yticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('training images of the class' + (f' (0 drawn at {ZERO_AT})' if without_images else ''))
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10, loc='left')
    columns = max(80 // (max(len(run.name) for run in runs) + 10), 1)
    figure.legend(loc='outside lower center', ncols=columns, frameon=False, fontsize=9)  # never over the points
    return save_figure(figure, path)


def _smooth(images: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean value around each number of images, weighted by a Gaussian over its logarithm: two arrays (G,)."""
    x = np.log(images)
    span = np.ptp(x)
    if not span:
        return images[:1], values.mean(keepdims=True)
    grid = np.linspace(x.min(), x.max(), 100)  # (G,)
    weight = np.exp(-0.5 * ((grid[:, None] - x) / (0.07 * span)) ** 2)  # (G, C)
    return np.exp(grid), weight @ values / weight.sum(1)


def _mark_groups(axes: Axes, runs: Sequence[ClassFigures]) -> None:
    """Borders and names of the groups, where all runs have the same."""
    first = runs[0]
    for run in runs[1:]:
        same = np.array_equal(run.train_images, first.train_images)
        if not same or any(not np.array_equal(a, b) for (_, a), (_, b) in zip(run.groups, first.groups)):
            return
    images = np.maximum(first.train_images, ZERO_AT)
    groups = [(name, images[mask]) for name, mask in first.groups if mask.any()]
    for (_, upper), (_, lower) in pairwise(groups):
        axes.axvline(np.sqrt(upper.min() * lower.max()), color='0.6', linestyle=':', linewidth=1)
    for name, members in groups:
        middle = np.sqrt(members.min() * members.max())
        axes.text(middle, 113, f'{name}\n{len(members)}', ha='center', va='top', fontsize=9)
