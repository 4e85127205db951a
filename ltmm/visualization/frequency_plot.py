"""Plot of the accuracy per class against the number of training images."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from ltmm.evaluation.reports import Run
from ltmm.utils.errors import InputError

from .style import RUN_COLORS, new_figure, new_panels, save_figure

__all__ = ['MIN_SMOOTH_CLASSES', 'ZERO_AT', 'plot_accuracy_against_frequency', 'plot_groups_against_frequency']

ZERO_AT = 0.5  # position of classes without training images on the logarithmic axis
MIN_SMOOTH_CLASSES = 30  # a curve through the points of fewer classes misleads
STEP = 1.06  # factor between the positions of runs whose points stand side by side


def plot_accuracy_against_frequency(runs: Sequence[Run], path: str | Path, title: str = '') -> Path:
    """Plot accuracy or AP per class against its training images: a point per class, a smooth curve per run.

    Below :data:`MIN_SMOOTH_CLASSES` classes there is no curve, and the points of the runs stand side by side. Runs of
    one ``method`` are drawn as one: the mean of the seeds, and a band or bars from the lowest to the highest of them.

    Args:
        runs: Runs of up to seven methods with reports of one kind.
        path: Image file (.png, .pdf, .svg).
        title: Title of the plot.
    """
    figure, axes = new_figure()
    _draw(axes, runs)
    axes.set_title(title, fontsize=10, loc='left')
    columns = max(80 // (max(map(len, axes.get_legend_handles_labels()[1])) + 10), 1)
    figure.legend(loc='outside lower center', ncols=columns, frameon=False, fontsize=9)
    return save_figure(figure, path)


def plot_groups_against_frequency(groups: Sequence[tuple[str, Sequence[Run]]], path: str | Path) -> Path:
    """Plot accuracy or AP per class against its training images, each group of runs in a panel, with one legend.

    Args:
        groups: Title and runs of each panel. The runs of all panels have the same methods in the same order, such as
            the experts of several models, of which one can have more than another.
        path: Image file (.png, .pdf, .svg).
    """
    columns = 2 if len(groups) == 4 else min(len(groups), 3)
    figure, panels = new_panels(len(groups), columns, width=4.6, height=3.3)
    for axes, (title, runs) in zip(panels, groups):
        _draw(axes, runs, count_seeds=False)
        axes.set_title(title, fontsize=10, loc='left')
    lines, names = max((axes.get_legend_handles_labels() for axes in panels), key=lambda legend: len(legend[1]))
    figure.legend(lines, names, loc='outside lower center', ncols=len(lines), frameon=False, fontsize=9)
    return save_figure(figure, path)


def _draw(axes: Axes, runs: Sequence[Run], count_seeds: bool = True) -> None:
    """Draw the points and the curve of each method; ``count_seeds`` adds their number to the label."""
    methods = _by_method(runs)
    kinds = {run.report.value_name for run in runs}
    if len(kinds) > 1 or len(methods) > len(RUN_COLORS):
        raise InputError(
            f'Expected up to {len(RUN_COLORS)} methods of one kind, but got {len(methods)} of {sorted(kinds)}.'
        )
    axes.set_xscale('log')
    has_zero = False
    for i, seeds in enumerate(methods):
        images, values = _tested(seeds)
        has_zero |= bool((images == 0).any())
        images = np.maximum(images, ZERO_AT)
        style = dict(color=RUN_COLORS[i], linewidths=0)
        label = seeds[0].method or seeds[0].name
        if count_seeds and len(seeds) > 1:
            label += f', {len(seeds)} seeds'
        if len(images) < MIN_SMOOTH_CLASSES:
            images = images * STEP ** (i - (len(methods) - 1) / 2)
            axes.scatter(images, values.mean(0), s=40, label=label, clip_on=False, **style)
            if len(seeds) > 1:
                axes.vlines(images, values.min(0), values.max(0), color=RUN_COLORS[i], linewidth=1.2)
            continue
        size, alpha = np.clip(900 / len(images), 4, 30), np.clip(25 / len(images), 0.04, 0.9)  # of thousands: a haze
        axes.scatter(images, values.mean(0), s=size, alpha=alpha, **style)
        x, curve = smooth_over_images(images, values)
        if len(seeds) > 1:
            axes.fill_between(x, curve.min(0), curve.max(0), alpha=0.2, **style)
        halo = [Stroke(linewidth=4, foreground='white'), Normal()]
        axes.plot(x, curve.mean(0), color=RUN_COLORS[i], linewidth=2.2, label=label, path_effects=halo)
    _mark_groups(axes, runs)
    axes.set_ylim(-2, 114)  # leaves room for the names of the groups
    axes.set_yticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('training images of the class' + (f' (0 drawn at {ZERO_AT})' if has_zero else ''))
    axes.set_ylabel(f'{kinds.pop()} (%)')


def _by_method(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the seeds of a method; a run without a method is alone."""
    methods: dict[str | int, list[Run]] = {}
    for number, run in enumerate(runs):
        methods.setdefault(run.method or number, []).append(run)
    return list(methods.values())


def _tested(seeds: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Return the training images (C,) and the figures of the seeds (S, C) of the classes that have been tested."""
    first = seeds[0].report
    for run in seeds:
        if run.report.train_images is None:
            raise InputError(
                f'The per-class CSV of {run.name} has no training images. Test a checkpoint that ltmm trained, with '
                'ltmm.ClassDistributionHook in the config.'
            )
        if not np.array_equal(run.report.train_images, first.train_images):
            raise InputError(
                f'Expected the seeds of {run.method} to have the same training images per class, but those of '
                f'{run.name} and {seeds[0].name} differ.'
            )
    values = np.stack([run.report.value for run in seeds])
    tested = ~np.isnan(values).any(0)
    if not tested.any():
        raise InputError(f'Expected {seeds[0].name} to have tested classes, but it has none.')
    return first.train_images[tested], values[:, tested]


def smooth_over_images(images: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the values (..., C) with a Gaussian kernel over the logarithm of the images (C,); (G,) and (..., G)."""
    x = np.log(images)
    span = np.ptp(x)
    if not span:
        return images[:1], values.mean(-1, keepdims=True)
    grid = np.linspace(x.min(), x.max(), 100)  # (G,)
    weight = np.exp(-0.5 * ((grid[:, None] - x) / (0.07 * span)) ** 2)  # (G, C)
    return np.exp(grid), values @ weight.T / weight.sum(1)


def _mark_groups(axes: Axes, runs: Sequence[Run]) -> None:
    """Draw the borders and the names of the groups, if all runs have the same."""
    first = runs[0].report
    for run in runs[1:]:
        same = np.array_equal(run.report.train_images, first.train_images)
        if not same or any(not np.array_equal(a, b) for (_, a), (_, b) in zip(run.report.groups(), first.groups())):
            return
    images = np.maximum(first.train_images, ZERO_AT)
    groups = [(name, images[mask]) for name, mask in first.groups() if mask.any()]
    for (_, upper), (_, lower) in pairwise(groups):
        axes.axvline(np.sqrt(upper.min() * lower.max()), color='0.6', linestyle=':', linewidth=1)
    for name, members in groups:
        middle = np.sqrt(members.min() * members.max())
        axes.text(middle, 113, f'{name}\n{len(members)}', ha='center', va='top', fontsize=9)
