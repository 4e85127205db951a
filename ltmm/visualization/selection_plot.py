"""Precision and recall of the samples that a method for noisy labels takes for clean, over the epochs."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np

from ltmm.utils.errors import InputError
from ltmm.visualization.report.run_files import json_lines

from .style import SHOT_COLORS, new_panels, save_figure

__all__ = ['plot_selection', 'read_selection']

FIGURES = ('precision', 'recall')
COLORS = {'all': '#222222', **SHOT_COLORS}


def read_selection(folder: str | Path) -> dict[str, dict[int, float]]:
    """Read the log of a training: figures such as ``'precision_few'`` by epoch, from 1; those of a resumed run too.

    Args:
        folder: Work dir.
    """
    figures: dict[str, dict[int, float]] = {}
    for file in sorted(Path(folder).rglob('scalars.json')):
        for line in json_lines(file):
            for name, value in line.items():
                if name.startswith('clean_') and isinstance(value, float) and isinstance(line.get('epoch'), int):
                    figures.setdefault(name.removeprefix('clean_'), {})[line['epoch']] = value
    if not figures:
        raise InputError(
            f'Expected the log in {folder} to have the precision of selected samples, but it has none: there, no '
            'training with ltmm.CoDivideHook or ltmm.CleanSelectionHook on ltmm.NoisyLabels has passed its warm-up.'
        )
    return figures


def plot_selection(runs: Mapping[str, Mapping[str, Mapping[int, float]]], path: str | Path) -> Path:
    """Plot precision and recall over the epochs, of all samples and of many-, medium- and few-shot classes.

    Args:
        runs: By name, what :func:`read_selection` gives; each has a style of line.
        path: Image file (.png, .pdf, .svg).
    """
    figure, panels = new_panels(2, 2, 4.6, 4.2)
    for axes, kind in zip(panels, FIGURES):
        for (run, figures), style in zip(runs.items(), cycle(('-', '--', ':', '-.'))):
            for group, color in COLORS.items():
                values = figures.get(kind if group == 'all' else f'{kind}_{group}', {})
                if values:
                    epochs = sorted(values)
                    label = group if len(runs) == 1 else f'{run}, {group}'
                    shares = 100 * np.array([values[epoch] for epoch in epochs])
                    axes.plot(epochs, shares, style, color=color, label=label, marker='.' if len(epochs) == 1 else None)
        axes.set_xlabel('epoch')
        axes.set_ylabel(f'{kind} of clean samples (%)')
        axes.set_ylim(0, 102)
    lines = dict(zip(*reversed(panels[1].get_legend_handles_labels())))  # recall has all groups
    figure.legend(lines.values(), lines, loc='outside lower center', ncols=max(len(runs), 2), frameon=False, fontsize=9)
    return save_figure(figure, path)
