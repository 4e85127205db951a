"""Plot of the accuracy of methods against the cost of their training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ltmm.utils.errors import InputError

from .style import RUN_COLORS, new_figure, save_figure

__all__ = ['pareto_front', 'plot_accuracy_against_cost']


def pareto_front(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Return the indices of the methods that no other beats at the same or a lower cost, from cheap to expensive.

    Args:
        cost: (M,).
        accuracy: (M,).
    """
    order = np.lexsort((-accuracy, cost))
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], accuracy[order][:-1]]))
    return order[accuracy[order] > best_before]


def plot_accuracy_against_cost(
    methods: Mapping[str, tuple[float, float, float]], path: str | Path, baseline: str
) -> Path:
    """Plot one point per method, and number those that no other method beats at the same or a lower cost.

    Args:
        methods: ``{name: (cost in units of the baseline, mean accuracy in percent, standard deviation)}``.
        path: Image file (.png, .pdf, .svg).
        baseline: Name of the method whose cost is 1, for the axis.
    """
    if not methods:
        raise InputError('Expected results of at least one method, but got none.')
    cost, accuracy, spread = np.array(list(methods.values())).T
    best = pareto_front(cost, accuracy)
    figure, axes = new_figure()
    axes.set_xscale('log')
    others = np.setdiff1d(np.arange(len(cost)), best)
    for points, color in ((others, '0.6'), (best, RUN_COLORS[0])):
        axes.errorbar(cost[points], accuracy[points], spread[points], fmt='o', ms=4, lw=1, color=color)
    axes.step(cost[best], accuracy[best], where='post', color=RUN_COLORS[0], linewidth=1)
    for number, point in enumerate(best, 1):
        axes.annotate(
            str(number), (cost[point], accuracy[point]), (-7, 5), textcoords='offset points', color=RUN_COLORS[0]
        )
    names = list(methods)
    key = '\n'.join(f'{number}  {names[point]}' for number, point in enumerate(best, 1))
    style = dict(fontsize=9, color=RUN_COLORS[0], ha='right', va='bottom', multialignment='left')
    axes.text(0.98, 0.03, key, transform=axes.transAxes, **style)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter('{x:g}')
    axes.set_xlabel(f'time of training and test in units of {baseline}')
    axes.set_ylabel('top-1 accuracy (%)')
    axes.margins(x=0.15, y=0.1)
    return save_figure(figure, path)
