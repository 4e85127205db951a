"""A picture of tracks and their predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.environment import check_extra

__all__ = ['draw_predictions']

OBSERVED, TRUE, OTHERS, BEST = '#333333', '#0072b2', '#d9d9d9', '#d55e00'


def draw_predictions(
    rows: dict[str, Sequence[Tensor]], past: Tensor, future: Tensor, titles: Sequence[str], path: str | Path
) -> None:
    """Draw tracks of head and tail side by side, and the predictions of several models below each other.

    Args:
        rows: Predictions by the name of the model, each (B, K, H, 2).
        past: Observed positions, (B, T, 2 or 4).
        future: (B, H, 2).
        titles: Of the tracks, (B,).
        path: Image file (.png, .pdf, .svg).
    """
    check_extra('report', 'matplotlib')
    from matplotlib.figure import Figure

    from ltmm.visualization.style import save_figure

    figure = Figure(figsize=(2.2 * len(titles), 2.3 * len(rows)), layout='constrained')
    axes = np.atleast_2d(figure.subplots(len(rows), len(titles), squeeze=False))
    for (name, prediction), line in zip(rows.items(), axes):
        best = (prediction - future.unsqueeze(1)).norm(dim=-1)[..., -1].argmin(1)
        for i, axis in enumerate(line):
            origin = torch.zeros(1, 2)
            for track in prediction[i]:
                axis.plot(*torch.cat([origin, track]).T, color=OTHERS, linewidth=0.8)
            axis.plot(*past[i, :, :2].T, color=OBSERVED, marker='.', markersize=3, label='observed')
            axis.plot(*torch.cat([origin, future[i]]).T, color=TRUE, linewidth=2, label='true')
            chosen = torch.cat([origin, prediction[i, best[i]]])
            axis.plot(*chosen.T, color=BEST, linestyle='--', label=f'best of {prediction.size(1)}')
            error = (chosen[-1] - future[i, -1]).norm()
            axis.set_title(f'{titles[i]}\nFDE {error:.2f} m', fontsize=8)
            axis.set_aspect('equal', adjustable='datalim')
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, fontsize=9)
    axes[0, 0].legend(fontsize=6, loc='best', frameon=False)
    save_figure(figure, path, dpi=90)
