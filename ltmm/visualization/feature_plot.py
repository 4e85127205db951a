"""Plot of features that were projected to two dimensions, one panel per network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

from .style import SHOT_COLORS, new_panels, save_figure

__all__ = ['plot_features']

MARKERS = 'os^vDP*X<>'  # of the classes, if there are no more of them
LEGEND = dict(frameon=False, fontsize=9)


def plot_features(
    points: Mapping[str, np.ndarray],
    label: np.ndarray,
    shots: Shots,
    path: str | Path,
    title: str = '',
    class_names: Sequence[str] | None = None,
) -> Path:
    """Plot the same images in each panel, a point per image, colored by the group of its class.

    Up to ten classes have a marker each. Axes have no unit: only who is near whom within a panel means something.

    Args:
        points: Title of each panel and its points, (N, 2).
        label: Class indices, (N,).
        shots: Groups of the C classes.
        path: Image file (.png, .pdf, .svg).
        title: Title of the figure.
        class_names: C names in label order. Default: their numbers.
    """
    for name, each in points.items():
        if each.shape != (len(label), 2):
            raise InputError(f'Expected points of shape ({len(label)}, 2) in {name!r}, but got {each.shape}.')
    classes = np.unique(label)
    marker_of = dict(zip(classes, MARKERS)) if len(classes) <= len(MARKERS) else dict.fromkeys(classes, 'o')
    color_of = [SHOT_COLORS[name] for name in shots.names()]
    columns = 2 if len(points) == 4 else min(len(points), 3)
    figure, panels = new_panels(len(points), columns, width=4.2, height=4.3)
    order = np.random.default_rng(0).permutation(len(label))  # no group covers another
    for axes, (name, each) in zip(panels, points.items()):
        for marker in dict.fromkeys(marker_of.values()):
            rows = [i for i in order if marker_of[label[i]] == marker]
            colors = [color_of[label[i]] for i in rows]
            axes.scatter(*each[rows].T, s=9, c=colors, marker=marker, linewidths=0, alpha=0.8)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, color='0.8')
        axes.set_title(name, fontsize=9, loc='left')
    handles = [
        Line2D([], [], color=SHOT_COLORS[group], marker='o', linestyle='', label=f'{group}-shot, {number} classes')
        for group, mask in shots.items()
        if (number := int(mask[classes].sum()))
    ]
    if len(classes) <= len(MARKERS):
        handles += [
            Line2D([], [], color=color_of[c], marker=marker_of[c], linestyle='', label=_name(class_names, c))
            for c in sorted(classes, key=lambda c: shots.names()[c] != 'many')
        ]
    figure.legend(handles=handles, loc='outside lower center', ncols=min(len(handles), 1 + 2 * columns), **LEGEND)
    figure.suptitle(title, fontsize=10, x=0.01, ha='left')
    return save_figure(figure, path)


def _name(class_names: Sequence[str] | None, label: int) -> str:
    return str(class_names[label]) if class_names is not None else f'class {label}'
