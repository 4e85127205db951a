"""Plot of a spatial attention over images of frequent and rare classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ltmm.utils.errors import InputError

from .style import SHOT_COLORS, new_panels, save_figure

__all__ = ['plot_attention']


def plot_attention(
    groups: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]], path: str | Path, title: str = ''
) -> Path:
    """Plot two rows per group: the images, and the attention over them. All maps have one scale.

    A weight is given as a multiple of that of an even attention: 1 everywhere if no position is preferred.

    Args:
        groups: Caption, pixels (H, W, 3), uint8, RGB, and weights (h, w), which sum to 1, of the images of each group;
            equally many in each.
        path: Image file (.png, .pdf, .svg).
        title: Title of the figure.
    """
    sizes = {len(images) for images in groups.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(f'Expected equally many images in each group, at least one, but got {sorted(sizes)}.')
    (columns,) = sizes
    figure, panels = new_panels(2 * len(groups) * columns, columns, width=1.25, height=1.35)
    highest = max(weights.max() * weights.size for images in groups.values() for *_, weights in images)
    drawn = None
    for number, (group, images) in enumerate(groups.items()):
        upper, lower = (panels[(2 * number + i) * columns :][:columns] for i in (0, 1))
        for top, bottom, (caption, pixels, weights) in zip(upper, lower, images):
            extent = (-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5)
            for axes in (top, bottom):
                axes.imshow(pixels, extent=extent)
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
            top.set_title(caption, fontsize=7, color=SHOT_COLORS.get(group, 'black'))
            options = dict(cmap='inferno', vmin=0, vmax=highest, alpha=0.65, interpolation='bilinear')
            drawn = bottom.imshow(weights * weights.size, extent=extent, **options)
        _label(upper[0], f'{group}-shot')
        _label(lower[0], 'attention')
    bar = figure.colorbar(drawn, ax=panels, shrink=0.6, aspect=30)
    bar.set_label('weight, 1 if even', fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=9, x=0.01, ha='left')
    return save_figure(figure, path)


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=8)
