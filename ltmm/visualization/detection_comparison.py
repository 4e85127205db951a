"""Image grid of the objects and the detections of one class by several models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pycocotools import mask as mask_utils

from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth

from .style import save_figure

__all__ = ['plot_detections']

OBJECT, HIT, MISS = '#ffffff', '#009e73', '#d55e00'
MIN_IOU = 0.5


def plot_detections(
    ground_truth: GroundTruth,
    runs: Mapping[str, Detections],
    category_id: int,
    images: Sequence[tuple[int, np.ndarray]],
    path: str | Path,
    score_thr: float,
    title: str = '',
) -> Path:
    """Draw a grid with one row per image: the objects of the class, then the detections of each run.

    Detections with an IoU of at least 0.5 with an object are green, the others orange.

    Args:
        ground_truth: The objects.
        runs: Detections of each run by its name, one per column.
        category_id: Category id of the class.
        images: Image id and pixels (H, W, 3), RGB, per row.
        path: Image file (.png, .pdf, .svg).
        score_thr: Detections with lower scores are not drawn.
        title: Title of the plot.
    """
    columns, rows = len(runs) + 1, len(images)
    figure = Figure(figsize=(2.6 * columns, 2.6 * rows + 0.6), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for (image_id, pixels), row in zip(images, grid):
        mine = (ground_truth.images == image_id) & (ground_truth.categories == category_id)
        objects = ground_truth.boxes[mine]  # (G, 4)
        for axes in row:
            axes.imshow(pixels)
            axes.set_axis_off()
        for box in objects:
            _draw(row[0], box, OBJECT)
        for axes, found in zip(row[1:], runs.values()):
            shown = (found.images == image_id) & (found.categories == category_id) & (found.scores >= score_thr)
            boxes, scores = found.boxes[shown], found.scores[shown]
            hits = np.zeros(len(boxes), bool)
            if len(boxes) and len(objects):
                hits = mask_utils.iou(boxes, objects, np.zeros(len(objects), np.uint8)).max(1) >= MIN_IOU
            for k in np.argsort(scores):  # draws the best last
                _draw(axes, boxes[k], HIT if hits[k] else MISS, f'{scores[k]:.2f}')
    for axes, name in zip(grid[0], ['objects', *runs]):
        axes.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10, x=0.01, ha='left')
    return save_figure(figure, path)


def _draw(axes: Axes, box: np.ndarray, color: str, text: str = '') -> None:
    """Draw a box [x, y, w, h] with a dark outline, and a text at its upper left corner."""
    for edge, width in (('black', 2.6), (color, 1.4)):
        axes.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, edgecolor=edge, linewidth=width))
    if text:
        label = dict(boxstyle='square,pad=0.15', facecolor=color, edgecolor='none')
        side = 'bottom' if box[1] > 0.07 * axes.get_ylim()[0] else 'top'  # 'top': inside the box
        axes.text(*box[:2], text, color='white', fontsize=7, va=side, bbox=label, clip_on=True)
