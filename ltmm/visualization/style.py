"""What the pictures share: colours, and how they are made without a screen."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ['RUN_COLOURS', 'SHOT_COLOURS', 'new_figure', 'save_figure']

RUN_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#5c5c5c')  # Okabe and Ito
SHOT_COLOURS = dict(many='#4477aa', medium='#bbbbbb', few='#ee6677')


def new_figure(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure of its own canvas (no pyplot, no screen) and its axes.

    Args:
        width: inches.
        height: inches.
    """
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write the picture, making its folder.

    Raises:
        ValueError: matplotlib writes no files of this kind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
