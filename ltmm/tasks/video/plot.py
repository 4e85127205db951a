"""Plot of what LMR rebuilds, and of what it changes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ltmm.models.heads import LMRHead
from ltmm.utils.errors import InputError
from ltmm.visualization.frequency_plot import smooth_over_images
from ltmm.visualization.style import RUN_COLORS, SHOT_COLORS, new_panels, save_figure

__all__ = ['plot_reconstruction']


def plot_reconstruction(head: LMRHead, recalls: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Plot the share of the reconstruction, and the accuracy of some runs, against the training samples per class.

    Args:
        head: A head that has its class distribution.
        recalls: Accuracy of each class in percent, (C,), by name of the run; averaged over similar class sizes.
        path: Image file (.png, .pdf, .svg).
    """
    counts = head.get_class_distribution().image_counts
    for name, recall in recalls.items():
        if np.shape(recall) != counts.shape:
            raise InputError(f'Expected accuracies of {len(counts)} classes, but {name!r} has {np.shape(recall)}.')
    present = counts > 0
    images = counts[present]
    figure, (left, right) = new_panels(2, 2, width=4.2, height=3.4)
    order = np.argsort(images)
    left.plot(images[order], head.share.cpu().numpy()[present][order], color='black', linewidth=1.8)
    left.set_ylim(0, 1)
    left.set_ylabel('share of the reconstruction')
    for (name, recall), color in zip(recalls.items(), RUN_COLORS, strict=False):
        recall = np.asarray(recall)[present]
        tested = ~np.isnan(recall)
        right.plot(*smooth_over_images(images[tested], recall[tested]), color=color, linewidth=2, label=name)
    right.set_ylim(bottom=0)
    right.set_ylabel('accuracy (%), smoothed')
    if recalls:
        right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter('{x:g}')
        axes.set_xlabel('training samples of the class')
        axes.axvspan(images.min(), max(head.few_shot, images.min()), color=SHOT_COLORS['few'], alpha=0.15, linewidth=0)
    left.set_title('shaded: classes that others are not rebuilt from', fontsize=9, loc='left')
    return save_figure(figure, path)
