"""Several runs side by side: a table, a picture, and a row a class."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltmm.evaluation.reports.detection_report import DetectionReport
from ltmm.evaluation.reports.multi_label_report import MultiLabelReport
from ltmm.evaluation.reports.per_class_report import PerClassReport

from .frequency_plot import ClassFigures, plot_against_frequency

__all__ = ['Run', 'comparison_table', 'per_class_csv', 'plot_accuracy_against_frequency', 'read_run', 'read_runs']

Report = PerClassReport | MultiLabelReport | DetectionReport


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model and what it can do on each class."""

    name: str
    report: Report


def read_run(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> Run:
    """The latest evaluation in a work dir.

    Args:
        path: work dir, or a per-class CSV.
        name: of the run; the name of the work dir when left out.
        csv_name: what :class:`ltmm.evaluation.LongTailMetric` calls its files; ``'per_class_bbox.csv'`` of LVISMetric.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a per-class CSV.
    """
    path = Path(path)
    file = path if path.is_file() else _latest_evaluation(path, csv_name)[-1]
    return Run(name or (path.stem if path.is_file() else path.resolve().name), _read_report(file))


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
        runs.append(Run(f'{name}, {part}' if part else name, _read_report(file)))
    return runs


def _latest_evaluation(path: Path, csv_name: str) -> list[Path]:
    """The files that match in the folder of the latest of them, the latest last."""
    files = sorted(path.rglob(csv_name), key=lambda file: (file.stat().st_mtime_ns, file))
    if not files:
        raise FileNotFoundError(
            f'Expected {csv_name} in {path}, but there is '
            + (
                'none. It is written by ltmm.LongTailMetric in val_evaluator or test_evaluator, or by ltmm.LVISMetric, '
                'as per_class_bbox.csv and per_class_segm.csv.'
                if path.is_dir()
                else 'no such folder.'
            )
        )
    return [file for file in files if file.parent == files[-1].parent]


def comparison_table(runs: Sequence[Run], markdown: bool = False) -> str:
    """One row a run: top-1, many, medium, few, balanced accuracy, lowest recall, in percent; the best marked ``*``.

    Of detectors: AP, AP50, APr, APc, APf, AP_fixed; with several labels an image: mAP, head, medium, tail, macro F1.

    Args:
        runs: the runs, all of one kind.
        markdown: a Markdown table, with the best in bold.

    Raises:
        ValueError: runs of different kinds.
    """
    kinds = {run.report.value_name for run in runs}
    if len(kinds) > 1:
        raise ValueError(f'Expected runs of one kind in one table, but they tell {" and ".join(sorted(kinds))}.')
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
    """The text of a CSV file: a row a class, most frequent first, and a column of recall or AP for each run.

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
    group = {int(c): name for name, mask in first.groups() for c in np.flatnonzero(mask)}
    known = first.train_images is not None
    for c in np.argsort(-first.train_images, kind='stable').tolist() if known else range(len(first.names)):
        values = [run.report.value[c] for run in runs]
        writer.writerow(
            [c, first.names[c], first.train_images[c] if known else '', group[c], first.test_images[c]]
            + ['' if np.isnan(value) else f'{value:.4f}' for value in values]
        )
    return text.getvalue()


def plot_accuracy_against_frequency(runs: Sequence[Run], path: str | Path, title: str = '') -> Path:
    """Draw accuracy or average precision of each class over its training images: a point a class, a curve a run.

    Args:
        runs: the runs, seven at the most for one colour each.
        path: picture to write (.png, .pdf, .svg).
        title: what the data are.

    Raises:
        ValueError: more runs than colours, runs of different kinds, or a run of which the training images are not
            known.
    """
    for run in runs:
        if run.report.train_images is None:
            raise ValueError(
                f'The per-class CSV of {run.name} does not know the training images of the classes: test a checkpoint '
                'that ltmm trained, with ltmm.ClassDistributionHook in the config.'
            )
    labels = {run.report.value_name for run in runs}
    if len(labels) > 1:
        raise ValueError(f'Expected runs of one kind in one picture, but they tell {" and ".join(sorted(labels))}.')
    figures = [ClassFigures(run.name, run.report.train_images, run.report.value, run.report.groups()) for run in runs]
    return plot_against_frequency(figures, path, f'{labels.pop()} (%)', title)


def _read_report(path: Path) -> Report:
    """The report that wrote the file, by its columns; :class:`PerClassReport` says what is wrong with another."""
    with open(path, encoding='utf-8') as file:
        columns = file.readline().strip().split(',')
    kind = DetectionReport if 'ap_fixed' in columns else MultiLabelReport if 'ap' in columns else PerClassReport
    return kind.read(path)
