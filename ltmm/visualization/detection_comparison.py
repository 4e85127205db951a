"""One class in some test images: its objects, and what several models find of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pycocotools import mask as mask_utils

from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth

from .style import save_figure

__all__ = ['DetectionRun', 'plot_detections']

OBJECT, HIT, MISS = '#ffffff', '#009e73', '#d55e00'
MIN_IOU = 0.5


@dataclass(frozen=True, eq=False)
class DetectionRun:
    """A model and what it finds."""

    name: str
    detections: Detections


def plot_detections(
    ground_truth: GroundTruth,
    runs: Sequence[DetectionRun],
    category_id: int,
    images: Sequence[tuple[int, np.ndarray]],
    path: str | Path,
    score_thr: float,
    title: str = '',
) -> Path:
    """Draw a grid: an image a row; its objects of the class, then the detections of the class by each run.

    Detections that overlap an object by at least half of their union are green, the others orange.

    Args:
        ground_truth: the objects.
        runs: the models, in the order of the columns.
        category_id: of the class.
        images: image id and pixels (H, W, 3), RGB, of each row.
        path: picture to write (.png, .pdf, .svg).
        score_thr: detections that score less are not drawn.
        title: what the data and the class are.
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
        for axes, run in zip(row[1:], runs):
            found = run.detections
            shown = (found.images == image_id) & (found.categories == category_id) & (found.scores >= score_thr)
            boxes, scores = found.boxes[shown], found.scores[shown]
            hits = np.zeros(len(boxes), bool)
            if len(boxes) and len(objects):
                hits = mask_utils.iou(boxes, objects, np.zeros(len(objects), np.uint8)).max(1) >= MIN_IOU
            for k in np.argsort(scores):  # the best on top
                _draw(axes, boxes[k], HIT if hits[k] else MISS, f'{scores[k]:.2f}')
    for axes, name in zip(grid[0], ['objects', *(run.name for run in runs)]):
        axes.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10, x=0.01, ha='left')
    return save_figure(figure, path)


def _draw(axes: Axes, box: np.ndarray, colour: str, text: str = '') -> None:
    """A box [x, y, w, h] that can be seen on any image, with a text at its upper left corner."""
    for edge, width in (('black', 2.6), (colour, 1.4)):
        axes.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, edgecolor=edge, linewidth=width))
    if text:
        label = dict(boxstyle='square,pad=0.15', facecolor=colour, edgecolor='none')
        side = 'bottom' if box[1] > 0.07 * axes.get_ylim()[0] else 'top'  # in the box, at the upper edge of the image
        axes.text(*box[:2], text, color='white', fontsize=7, va=side, bbox=label, clip_on=True)
