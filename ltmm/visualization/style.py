"""Colors of the plots, and figures that need no screen."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ltmm.utils.checks import check

__all__ = ['RUN_COLORS', 'SHOT_COLORS', 'check_image_file', 'new_figure', 'new_panels', 'save_figure']

RUN_COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#5c5c5c')  # Okabe and Ito
SHOT_COLORS = dict(many='#4477aa', medium='#bbbbbb', few='#ee6677')


def new_figure(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """Create a figure, without pyplot, and its axes; the size is in inches."""
    figure, (axes,) = new_panels(1, 1, width, height)
    return figure, axes


def new_panels(num: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure, without pyplot, and the axes of its panels, row by row; the size of a panel is in inches."""
    rows = -(-num // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout='constrained')
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(num)]
    for axes in panels:
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', color='0.9', linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels


def check_image_file(path: str | Path) -> None:
    """Raise an InputError unless Matplotlib can write files with this suffix."""
    check(suffix=(Path(path).suffix[1:], FigureCanvasAgg.get_supported_filetypes()))


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write the image file and create its folder."""
    path = Path(path)
    check_image_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return path
