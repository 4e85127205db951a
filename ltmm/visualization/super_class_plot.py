"""Which super-classes the images of each class belong to."""

from pathlib import Path

import numpy as np
import torch

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.prototypes import class_statistics
from ltmm.utils.errors import InputError

from .style import new_figure, save_figure

__all__ = ['plot_super_classes']


def plot_super_classes(links: np.ndarray, label: np.ndarray, distribution: ClassDistribution, path: str | Path) -> Path:
    """Plot the share of each super-class in the images of each class over its mean, most frequent classes on the left.

    Args:
        links: Share of each super-class in each image, (N, K), see
            :func:`ltmm.models.necks.super_class_graph.link_weights`.
        label: Class of each image, (N,).
        distribution: Class distribution of the training data.
        path: Image file (.png, .pdf, .svg).
    """
    num_classes = len(distribution)
    if links.ndim != 2 or label.shape != links.shape[:1]:
        raise InputError(f'Expected `links` (N, K) and `label` (N,), but got {links.shape} and {label.shape}.')
    shares = class_statistics(torch.as_tensor(links), torch.as_tensor(label), num_classes)[1].numpy()  # (C, K)
    relative = shares / shares.mean(axis=0).clip(min=1e-12)
    classes = np.argsort(-distribution.image_counts, kind='stable')
    names = distribution.class_names or tuple(map(str, range(num_classes)))
    rows = np.argsort(-shares.sum(0), kind='stable')
    figure, axes = new_figure(9.0, 0.24 * len(rows) + 1.2)
    axes.grid(visible=False)
    image = axes.imshow(
        relative[classes][:, rows].T, aspect='auto', cmap='magma', vmin=0, vmax=4, interpolation='nearest'
    )
    largest = np.argsort(-shares, axis=0, kind='stable')[:3]  # (3, K)
    texts = [', '.join(str(names[c]) for c in largest[:, k]) + f' ({shares[:, k].mean():.0%})' for k in rows]
    axes.set_yticks(range(len(rows)), texts, fontsize=7)
    axes.set_ylabel('super-class: three largest classes (mean share)')
    axes.set_xlabel('class, most frequent first')
    figure.colorbar(image, ax=axes, label='share in the images of the class / mean', extend='max', shrink=0.8)
    return save_figure(figure, path)
