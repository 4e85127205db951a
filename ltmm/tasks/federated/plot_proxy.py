"""Picture of the estimated class counts of clients beside the true ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltmm.utils.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ['plot_proxy']


def plot_proxy(true: np.ndarray, estimate: np.ndarray, out: str | Path | None = None) -> 'Figure':
    """Plot estimated class counts beside the true ones, of each client and of all; the head is on the left.

    Left: shares of the classes at each client, true above and estimated below. Right: total counts, logarithmic.

    Args:
        true: Images per client and class, (K, C).
        estimate: Estimated ones, (K, C), as ``FederatedTrainLoop.estimate``.
        out: Image file (.png, .pdf, .svg).
    """
    from matplotlib.figure import Figure

    from ltmm.visualization.style import save_figure

    true, estimate = np.asarray(true, dtype=float), np.asarray(estimate, dtype=float)
    if true.ndim != 2 or true.shape != estimate.shape:
        raise InputError(f'plot_proxy: expected two arrays (K, C), but got {true.shape} and {estimate.shape}.')
    order = np.argsort(-true.sum(0), kind='stable')
    figure = Figure(figsize=(9, 4.2), layout='constrained')
    grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
    shares = [counts[:, order] / counts.sum(1, keepdims=True).clip(min=1) for counts in (true, estimate)]
    for row, (share, title) in enumerate(zip(shares, ('true', 'estimated'))):
        axes = figure.add_subplot(grid[row, 0])
        image = axes.imshow(share**0.5, aspect='auto', cmap='viridis', vmin=0, vmax=max(x.max() for x in shares) ** 0.5)
        axes.set(title=f'{title} share of the classes', ylabel='client')
        axes.set_xlabel('class, most frequent first' if row else '')
        figure.colorbar(image, ax=axes, label='square root of share')
    axes = figure.add_subplot(grid[:, 1])
    axes.plot(true.sum(0)[order], color='black', label='true')
    axes.plot(estimate.sum(0)[order].clip(min=0.5), '.', color='tab:red', label='estimated')
    title = f'images at all clients\nmean cosine per client {_cosines(true, estimate).mean():.2f}'
    axes.set(yscale='log', title=title, xlabel='class, most frequent first', ylabel='images')
    axes.legend()
    if out is not None:
        save_figure(figure, out, dpi=110)
    return figure


def _cosines(true: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    norms: Sequence[np.ndarray] = [np.linalg.norm(x, axis=1) for x in (true, estimate)]
    return (true * estimate).sum(1) / (norms[0] * norms[1]).clip(min=1e-12)
