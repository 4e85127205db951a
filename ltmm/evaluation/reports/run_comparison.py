"""Compare runs by their per-class reports: a table of figures, and a CSV with one row per class."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

from .class_report import ClassReport
from .detection_report import DetectionReport
from .multi_label_report import MultiLabelReport
from .per_class_report import PerClassReport

__all__ = [
    'Run',
    'check_same_classes',
    'comparison_table',
    'latest_evaluation',
    'method_folder',
    'per_class_csv',
    'read_run',
    'read_runs',
    'read_seeds',
]

SEED_FOLDER = re.compile(r'seed_?(\d+)')  # of a run within the folder of its method


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model and its per-class report.

    Args:
        name: Name in tables.
        report: Its per-class report.
        method: Name of the method, if the run is one of its seeds; plots draw these as one.
    """

    name: str
    report: ClassReport
    method: str = ''


def read_run(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> Run:
    """Read the latest evaluation in a work dir.

    Args:
        path: Work dir, or a per-class CSV.
        name: Name of the run. Default: that of the work dir or file.
        csv_name: Name of the file in the work dir; ``'per_class_bbox.csv'`` for LVISMetric.
    """
    path = Path(path)
    file = path if path.is_file() else latest_evaluation(path, csv_name)[-1]
    return Run(name or (path.stem if path.is_file() else path.resolve().name), _read_report(file))


def read_runs(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> list[Run]:
    """Read all per-class CSVs of the latest evaluation in a work dir, for example of each expert.

    Args:
        path: Work dir, or a per-class CSV.
        name: Name of the run. Default: that of the work dir or file.
        csv_name: Pattern of the file names. With ``'per_class*.csv'``, the ``per_class_expert0.csv`` of
            :class:`ltmm.evaluation.ExpertMetric` becomes the run ``'<name>, expert 0'``.
    """
    path = Path(path)
    if path.is_file():
        return [read_run(path, name)]
    name = name or path.resolve().name
    runs = []
    for file in sorted(latest_evaluation(path, csv_name)):
        part = file.stem.removeprefix('per_class').strip('_') if '*' in csv_name else ''
        part = re.sub(r'(?<=[a-z])(?=\d)', ' ', part)
        runs.append(Run(f'{name}, {part}' if part else name, _read_report(file)))
    return runs


def read_seeds(path: str | Path, name: str | None = None, csv_name: str = 'per_class.csv') -> list[Run]:
    """Read the runs of a method, :func:`read_runs` of each seed; the same as :func:`read_runs` if there are no seeds.

    Args:
        path: Folder with subfolders ``seed_0``, ``seed_1``, ... (see ``tools/analysis_tools/run_table.py``), of which
            those without a CSV are left out; or any other work dir; or a per-class CSV.
        name: Name of the method; its runs are ``'<name>, seed 0'`` and so on. Default: that of the folder.
        csv_name: See :func:`read_runs`.
    """
    path = Path(path)
    seeds = {int(n[1]): each for each in path.glob('seed_*') if (n := SEED_FOLDER.fullmatch(each.name))}
    seeds = {seed: folder for seed, folder in sorted(seeds.items()) if next(folder.rglob(csv_name), None)}
    if not seeds:
        return read_runs(path, name or (method_folder(path).name if path.is_dir() else None), csv_name)
    name = name or path.resolve().name
    return [
        replace(run, name=f'{name}, seed {seed}{run.name.removeprefix(name)}', method=run.name)
        for seed, folder in seeds.items()
        for run in read_runs(folder, name, csv_name)
    ]


def comparison_table(runs: Sequence[Run], markdown: bool = False) -> str:
    """Format the figures of the reports as a table, in percent, one row per run; ``*`` marks the best.

    Args:
        runs: Runs with reports of one kind and of the same classes.
        markdown: Format a Markdown table, with the best in bold.
    """
    kinds = {run.report.value_name for run in runs}
    if len(kinds) > 1:
        raise InputError(f'Expected runs of one kind, but got the {" and the ".join(sorted(kinds))}.')
    check_same_classes([(run.name, run.report.names) for run in runs])
    figures = [run.report.figures() for run in runs]
    keys = list(figures[0])
    values = np.array([[row[key] for key in keys] for row in figures]).round(2)  # (R, F)
    is_best = (values == np.nan_to_num(values, nan=-1).max(0)) & (len(runs) > 1)
    best, other = ('**{}**', '{}') if markdown else ('{}*', '{} ')
    header = ['run' if markdown or len(runs) == 1 else 'run (* best)', *(key.replace('_', ' ') for key in keys)]
    rows = [
        [run.name, *((best if b else other).format('-' if np.isnan(v) else f'{v:.2f}') for v, b in zip(*row))]
        for run, *row in zip(runs, values, is_best)
    ]
    if markdown:
        rule = ['---', *('---:' for _ in keys)]
        return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [header, rule, *rows])
    lines = [[header[0], *(title + ' ' for title in header[1:])], *rows]
    width = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join(
        '  '.join([line[0].ljust(width[0]), *(cell.rjust(w) for cell, w in zip(line[1:], width[1:]))]).rstrip()
        for line in lines
    )


def per_class_csv(runs: Sequence[Run]) -> str:
    """Return the text of a CSV file with one row per class, most frequent first, and the recall or AP of each run.

    Args:
        runs: Runs with reports of the same classes in the same order; images and groups are those of the first.
    """
    first = runs[0].report
    check_same_classes([(run.name, run.report.names) for run in runs], in_order=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['label', 'name', 'train_images', 'shot', 'test_images', *(run.name for run in runs)])
    group = {int(c): name for name, mask in first.groups() for c in np.flatnonzero(mask)}
    images = first.train_images
    for c in range(len(first.names)) if images is None else np.argsort(-images, kind='stable').tolist():
        values = [run.report.value[c] for run in runs]
        writer.writerow(
            [c, first.names[c], '' if images is None else images[c], group[c], first.test_images[c]]
            + ['' if np.isnan(value) else f'{value:.4f}' for value in values]
        )
    return text.getvalue()


def check_same_classes(names: Sequence[tuple[str, Sequence[str]]], in_order: bool = False) -> None:
    """Raise unless all runs have the same classes: means over other classes cannot be compared.

    Args:
        names: Name of each run, and its class names in label order.
        in_order: The labels have to be the same too.
    """
    (first, expected), *others = names
    for name, got in others:
        only = [sorted(set(a) - set(b))[:3] for a, b in ((expected, got), (got, expected))]
        if len(got) != len(expected) or any(only):
            raise InputError(
                f'Expected runs of the same classes, but {first} has {len(expected)} and {name} has {len(got)}; only '
                f'in {first}: {", ".join(only[0]) or "none"}; only in {name}: {", ".join(only[1]) or "none"}. Compare '
                'runs of one set of classes at a time.'
            )
        if in_order and tuple(got) != tuple(expected):
            i = next(i for i, pair in enumerate(zip(expected, got)) if pair[0] != pair[1])
            raise InputError(
                f'Expected runs with the same labels, but class {i} is {expected[i]!r} in {first} and {got[i]!r} in '
                f'{name}.'
            )


def method_folder(path: Path) -> Path:
    """Return the folder of a run, or its parent if the folder is that of a seed."""
    folder = path.resolve()
    return folder.parent if SEED_FOLDER.fullmatch(folder.name) else folder


def latest_evaluation(path: Path, csv_name: str) -> list[Path]:
    """Return the matching files in the folder of the latest of them, the latest last."""
    files = sorted(path.rglob(csv_name), key=lambda file: (file.stat().st_mtime_ns, file))
    if not files:
        why = (
            'there is none. It is written by ltmm.LongTailMetric in val_evaluator or test_evaluator, or by '
            'ltmm.LVISMetric, as per_class_bbox.csv and per_class_segm.csv.'
        )
        raise FileNotFoundError(f'Expected {csv_name} in {path}, but {why if path.is_dir() else "there is no folder."}')
    return [file for file in files if file.parent == files[-1].parent]


def _read_report(path: Path) -> ClassReport:
    columns = read_text(path).partition('\n')[0].strip().split(',')
    kind = DetectionReport if 'ap_fixed' in columns else MultiLabelReport if 'ap' in columns else PerClassReport
    return kind.read(path)
