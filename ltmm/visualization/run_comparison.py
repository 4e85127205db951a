"""Several runs side by side: a table, a picture, and a row a class."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from ltmm.evaluation.per_class_report import PerClassReport

from .style import RUN_COLOURS, new_figure, save_figure

__all__ = ['Run', 'comparison_table', 'per_class_csv', 'plot_accuracy_against_frequency', 'read_run', 'read_runs']

ZERO_AT = 0.5  # where a class without a training image stands on a logarithmic axis


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model and what it can do on each class."""

    name: str
    report: PerClassReport


def read_run(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> Run:
    """The latest evaluation in a work dir.

    Args:
        path: work dir, or a per-class CSV.
        name: of the run; the name of the work dir when left out.
        csv_name: what :class:`ltmm.evaluation.LongTailMetric` calls its files.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a per-class CSV.
    """
    path = Path(path)
    file = path if path.is_file() else _latest_evaluation(path, csv_name)[-1]
    return Run(name or (path.stem if path.is_file() else path.resolve().name), PerClassReport.read(file))


def read_runs(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> list[Run]:
    """The latest evaluation in a work dir, where it has several per-class CSVs: of each expert, say.

    Args:
        path: work dir, or a per-class CSV.
        name: of the run; the name of the work dir when left out.
        csv_name: pattern of the names of the files. With ``'per_class*.csv'``, the ``per_class_expert0.csv`` of
            :class:`ltmm.evaluation.ExpertMetric` becomes the run ``'<name>, expert 0'``.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a per-class CSV.
    """
    path = Path(path)
    if path.is_file():
        return [read_run(path, name)]
    name = name or path.resolve().name
    runs = []
    for file in sorted(_latest_evaluation(path, csv_name)):
        part = file.stem.removeprefix('per_class').strip('_') if '*' in csv_name else ''
        part = re.sub(r'(?<=[a-z])(?=\d)', ' ', part)
        runs.append(Run(f'{name}, {part}' if part else name, PerClassReport.read(file)))
    return runs


def _latest_evaluation(path: Path, csv_name: str) -> list[Path]:
    """The files that match in the folder of the latest of them, the latest last."""
    files = sorted(path.rglob(csv_name), key=lambda file: (file.stat().st_mtime_ns, file))
    if not files:
        raise FileNotFoundError(
            f'Expected {csv_name} in {path}, but there is '
            + (
                'none. It is written by ltmm.LongTailMetric in val_evaluator or test_evaluator.'
                if path.is_dir()
                else 'no such folder.'
            )
        )
    return [file for file in files if file.parent == files[-1].parent]


def comparison_table(runs: Sequence[Run], markdown: bool = False) -> str:
    """One row a run: top-1, many, medium, few, balanced accuracy, lowest recall, in percent; the best marked ``*``.

    Args:
        runs: the runs.
        markdown: a Markdown table, with the best in bold.
    """
    figures = [run.report.figures() for run in runs]
    keys = list(figures[0])
    values = np.array([[row[key] for key in keys] for row in figures]).round(2)  # (R, 6)
    is_best = (values == np.nan_to_num(values, nan=-1).max(0)) & (len(runs) > 1)
    best, other = ('**{}**', '{}') if markdown else ('{}*', '{} ')
    head = ['run', *(key.replace('_', ' ') for key in keys)]
    rows = [
        [run.name, *((best if b else other).format('-' if np.isnan(v) else f'{v:.2f}') for v, b in zip(*row))]
        for run, *row in zip(runs, values, is_best)
    ]
    if markdown:
        rule = ['---', *('---:' for _ in keys)]
        return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [head, rule, *rows])
    lines = [[head[0], *(title + ' ' for title in head[1:])], *rows]
    width = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join(
        '  '.join([line[0].ljust(width[0]), *(cell.rjust(w) for cell, w in zip(line[1:], width[1:]))]).rstrip()
        for line in lines
    )


def per_class_csv(runs: Sequence[Run]) -> str:
    """The text of a CSV file with a row a class, most frequent first, and a column of recall for each run.

    Args:
        runs: the runs; images and groups are those of the first.

    Raises:
        ValueError: the runs are not of the same classes.
    """
    first = runs[0].report
    for run in runs[1:]:
        if run.report.names != first.names:
            raise ValueError(
                f'Expected runs of the same classes, but {runs[0].name} has {len(first.names)} and {run.name} has '
                f'{len(run.report.names)}, or they have other names.'
            )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['label', 'name', 'train_images', 'shot', 'test_images', *(run.name for run in runs)])
    shot = first.shots.names()
    for c in np.argsort(-first.train_images, kind='stable').tolist():
        recalls = [run.report.recall[c] for run in runs]
        writer.writerow(
            [c, first.names[c], first.train_images[c], shot[c], first.test_images[c]]
            + ['' if np.isnan(recall) else f'{recall:.4f}' for recall in recalls]
        )
    return text.getvalue()


def plot_accuracy_against_frequency(runs: Sequence[Run], path: str | Path, title: str = '') -> Path:
    """Draw the accuracy of each class over its training images: a point a class, a smooth curve a run.

    Args:
        runs: the runs, seven at the most for one colour each.
        path: picture to write (.png, .pdf, .svg).
        title: what the data are.

    Raises:
        ValueError: more runs than colours.
    """
    if len(runs) > len(RUN_COLOURS):
        raise ValueError(f'Expected at most {len(RUN_COLOURS)} runs in one picture, but got {len(runs)}.')
    figure, axes = new_figure()
    axes.set_xscale('log')
    without_images = False
    for run, colour in zip(runs, RUN_COLOURS):
        report = run.report
        tested = report.test_images > 0
        images, recall = np.maximum(report.train_images[tested], ZERO_AT), report.recall[tested]
        without_images |= bool((report.train_images[tested] == 0).any())
        # the points of ten classes stand before the curves, those of thousands are a haze behind them
        size, alpha = np.clip(900 / len(recall), 4, 30), np.clip(25 / len(recall), 0.04, 0.9)
        before = 3 if len(recall) <= 30 else 1
        axes.scatter(images, recall, s=size, color=colour, alpha=alpha, linewidths=0, zorder=before)
        halo = [Stroke(linewidth=4, foreground='white'), Normal()]
        axes.plot(*_smooth(images, recall), color=colour, linewidth=2.2, label=run.name, path_effects=halo)
    _mark_shots(axes, [run.report for run in runs])
    axes.set_ylim(-2, 114)  # room for the names of the groups
    axes.set_yticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('training images of the class' + (f' (0 drawn at {ZERO_AT})' if without_images else ''))
    axes.set_ylabel('accuracy on the class (%)')
    axes.set_title(title, fontsize=10, loc='left')
    columns = max(80 // (max(len(run.name) for run in runs) + 10), 1)
    figure.legend(loc='outside lower center', ncols=columns, frameon=False, fontsize=9)  # never over the points
    return save_figure(figure, path)


def _smooth(images: np.ndarray, recall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean recall around each number of images, weighted by a Gaussian over its logarithm: two arrays (G,)."""
    x = np.log(images)
    span = np.ptp(x)
    if not span:
        return images[:1], recall.mean(keepdims=True)
    grid = np.linspace(x.min(), x.max(), 100)  # (G,)
    weight = np.exp(-0.5 * ((grid[:, None] - x) / (0.07 * span)) ** 2)  # (G, C)
    return np.exp(grid), weight @ recall / weight.sum(1)


def _mark_shots(axes: Axes, reports: list[PerClassReport]) -> None:
    """Borders and names of the shot groups, where all runs have the same."""
    first = reports[0]
    for report in reports[1:]:
        if not np.array_equal(report.train_images, first.train_images) or report.shots.names() != first.shots.names():
            return
    images = np.maximum(first.train_images, ZERO_AT)
    groups = [(name, images[mask]) for name, mask in first.shots.items() if mask.any()]
    for (_, upper), (_, lower) in pairwise(groups):
        axes.axvline(np.sqrt(upper.min() * lower.max()), color='0.6', linestyle=':', linewidth=1)
    for name, members in groups:
        middle = np.sqrt(members.min() * members.max())
        axes.text(middle, 113, f'{name}\n{len(members)}', ha='center', va='top', fontsize=9)
