"""Tables of the results of runs, in Markdown, YAML, CSV and JSON."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import yaml

from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError, did_you_mean

from .comparison import Comparison, compare
from .run import EMPTY_GROUP, Run, by_config

__all__ = [
    'COST',
    'check_classes',
    'check_columns',
    'columns',
    'comparisons',
    'explanation',
    'points',
    'record',
    'rows',
    'spread',
    'table',
    'values',
    'write',
]

COLUMNS = dict(  # columns of the table by evaluator
    LongTailMetric={
        'top1': 'long_tail/top1',
        'many': 'long_tail/many',
        'medium': 'long_tail/medium',
        'few': 'long_tail/few',
        'balanced': 'long_tail/balanced_accuracy',
        'HM': 'long_tail/harmonic_mean',  # of the recalls
        'GM': 'long_tail/geometric_mean',
        'lowest': 'long_tail/lowest_recall',
    },
    MultiLabelMetric={name: f'multi_label/{name}' for name in ('mAP', 'head', 'medium', 'tail')},
    LVISMetric={name: f'lvis/bbox_{name}' for name in ('AP', 'AP50', 'AP75', 'APr', 'APc', 'APf', 'AP_fixed')},
)
COST = 'cost'  # the time in units of the run of the baseline with the same seed
FRACTIONS = 'lvis/'  # prefix of metrics in [0, 1]; the others are in percent


def check_classes(runs: Sequence[Run]) -> None:
    """Raise if the complete runs, by their last per-class CSVs, have different classes; a stage may have others."""
    files = {
        name: max(
            (file for run in group if run.is_complete for file in run.folder.rglob('per_class*.csv')),
            key=lambda file: file.stat().st_mtime_ns,
            default=None,
        )
        for name, group in by_config(runs).items()
    }
    files = {name: file for name, file in files.items() if file}
    if len(files) > 1:
        from ltmm.evaluation.reports.run_comparison import check_same_classes, read_run

        check_same_classes([(name, read_run(file).report.names) for name, file in files.items()])


def columns(runs: Sequence[Run], metrics: Sequence[str] = ()) -> dict[str, str]:
    """``{title: metric}`` of the evaluators of the runs, and of other metrics such as ``'calibration/ece'``."""
    found: dict[str, str] = {}
    for cfg in {run.name: run.cfg for run in runs}.values():
        evaluators = cfg.get('test_evaluator') or []
        for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
            found |= COLUMNS.get(evaluator['type'].split('.')[-1], {})
    for metric in metrics:
        title = metric.split('/')[-1]
        found[title if found.get(title, metric) == metric else metric] = metric
    return found


def check_columns(runs: Sequence[Run], columns: Mapping[str, str], compared: Sequence[str]) -> None:
    """Raise if there are no columns, or not those that are to be compared, or one method only."""
    if not columns:
        raise InputError('The test_evaluators of these configs have no columns here: name their figures by --metrics.')
    for title in compared:
        if title not in columns:
            raise InputError(f'--compare: there is no column {title}.{did_you_mean(title, columns)}')
    if compared and len(by_config(runs)) == 1:
        raise InputError(f'--compare: expected two methods or more, but got {runs[0].name} only.')


def values(runs: Sequence[Run], metric: str) -> list[float]:
    """A metric of complete runs in percent, without those that lack it."""
    found = [run.cost if metric == COST else run.record['metrics'].get(metric, EMPTY_GROUP) for run in runs]
    return [value * (100 if metric.startswith(FRACTIONS) else 1) for value in found if value != EMPTY_GROUP]


def spread(values: Sequence[float]) -> str:
    """Mean and, for two or more values, standard deviation (n - 1)."""
    if not values:
        return '-'
    return f'{statistics.fmean(values):.2f}' + (f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else '')


def points(runs: Sequence[Run]) -> dict[str, tuple[float, float, float]]:
    """``{config: (cost, mean and standard deviation of the top-1 accuracy)}`` of the complete runs."""
    found = {}
    for name, group in by_config([run for run in runs if run.is_complete]).items():
        if (top1 := values(group, 'long_tail/top1')) and (cost := values(group, COST)):
            deviation = statistics.stdev(top1) if len(top1) > 1 else 0.0
            found[name] = statistics.fmean(cost), statistics.fmean(top1), deviation
    return found


def by_seed(group: Sequence[Run], metric: str) -> dict[int, float]:
    """``{seed: value}`` of a metric of the complete runs of a config that have it."""
    return {run.seed: value for run in group if run.is_complete for value in values([run], metric)}


def comparisons(runs: Sequence[Run], metric: str) -> dict[str, Comparison]:
    """Paired comparison of each config with the first one over seeds, see :func:`compare`."""
    figures = {name: by_seed(group, metric) for name, group in by_config(runs).items()}
    return compare(figures, next(iter(figures)))


def table(runs: Sequence[Run], columns: dict[str, str], compared: Sequence[str] = ()) -> str:
    """Markdown table with one row per config; the time is that of one run without a first stage of another row.

    Args:
        runs: Complete and other runs.
        columns: See :func:`columns`.
        compared: Titles of columns to compare with the first config, over seeds.
    """
    paired = {title: comparisons(runs, columns[title]) for title in compared}
    added = [text for title in compared for text in (f'Δ {title} [95 %]', f'p ({title})')]
    head = ['method', *columns, *added, 'seeds', 'epochs', 'time', 'date', 'hardware', 'commit']
    numbers = len(columns) + len(added)
    rows = [head, ['---', *['---:'] * numbers, *['---'] * (len(head) - numbers - 1)]]
    for name, group in by_config(runs).items():
        complete = [run for run in group if run.is_complete]
        if not complete:
            state = 'failed' if any(run.record.get('state') == 'failed' for run in group) else 'not run'
            rows.append([name, *([state] + ['-'] * (len(head) - 2))])
            continue
        seconds = statistics.fmean(run.record['seconds'] for run in complete)
        bound = '≥ ' if any(run.record['time_is_lower_bound'] for run in complete) else ''
        rows.append(
            [
                name,
                *(spread(values(complete, metric)) for metric in columns.values()),
                *(text for title in compared for text in _paired_cells(paired[title].get(name))),
                ', '.join(str(run.seed) for run in complete),
                _all(complete, 'epochs'),
                f'{bound}{timedelta(seconds=round(seconds))}',
                *(_all(complete, key) for key in ('date', 'hardware', 'commit')),
            ]
        )
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def _paired_cells(one: Comparison | None) -> tuple[str, str]:
    """Difference with its interval, and corrected p-value."""
    if one is None:
        return '-', '-'
    if math.isnan(one.low):
        return f'{one.difference:+.2f}', '-'
    p = '<0.001' if one.p_holm < 0.001 else f'{one.p_holm:.3f}'
    return f'{one.difference:+.2f} [{one.low:+.2f}, {one.high:+.2f}]', p


def explanation(runs: Sequence[Run], columns: Mapping[str, str], compared: Sequence[str]) -> str:
    """Say what the comparison is, and how much it can tell."""
    found = [one for title in compared for one in comparisons(runs, columns[title]).values()]
    if not found:
        return ''
    text = (
        f'Δ: mean difference from {runs[0].name} over common seeds with its 95 % interval; p: paired t-test, '
        "Holm's correction for the number of methods compared."
    )
    seeds = min(one.num_pairs for one in found)
    if seeds == 1:
        text += ' Of one common seed there is neither.'
    elif seeds < 5:
        text += (
            f' With {seeds} seeds this says little: the interval rests on {seeds - 1} '
            f'degree{"s" * (seeds > 2)} of freedom, and differences have to be normal. It covers the seeds of '
            'training, not other data.'
        )
    return text


def rows(runs: Sequence[Run], columns: dict[str, str]) -> list[dict]:
    """One dict for each config and column: the figures of its seeds, their spread and the comparison with the first."""
    found = []
    for title, metric in columns.items():
        paired = comparisons(runs, metric)
        for name, group in by_config(runs).items():
            figures = by_seed(group, metric)
            numbers = list(figures.values())
            one = paired.get(name)
            keys = ('difference', 'low', 'high', 'p', 'p_holm')
            found.append(
                dict(
                    method=name,
                    column=title,
                    metric=metric,
                    seeds=figures,
                    mean=statistics.fmean(numbers) if numbers else None,
                    std=statistics.stdev(numbers) if len(numbers) > 1 else None,
                    **{key: _number(vars(one)[key]) if one else None for key in keys},
                )
            )
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def write(path: Path, runs: Sequence[Run], columns: dict[str, str], command: str) -> None:
    """Write the complete runs as .yml (the record of results.yml), .csv or .json (one row per config and column)."""
    if path.suffix in ('.yml', '.yaml'):
        text = record(runs, columns, command)
    elif path.suffix == '.json':
        text = json.dumps(dict(command=command, rows=rows(runs, columns)), indent=1) + '\n'
    else:
        text = _csv(rows(runs, columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    AtomicLocalBackend().put(text.encode(), path)


def _csv(found: Sequence[dict]) -> str:
    file = io.StringIO(newline='')
    seeds = sorted({seed for row in found for seed in row['seeds']})
    keys = [key for key in found[0] if key != 'seeds']
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow([*keys, *(f'seed_{seed}' for seed in seeds)])
    writer.writerows([*(row[key] for key in keys), *(row['seeds'].get(seed) for seed in seeds)] for row in found)
    return file.getvalue()


def record(runs: Sequence[Run], columns: dict[str, str], command: str) -> str:
    """The complete runs as a record of results.yml; see model_zoo.py."""
    complete = [run for run in runs if run.is_complete]
    setting = dict(
        schedule=f'{_all(complete, "epochs")} epochs'.replace('iterations epochs', 'iterations'),
        seeds=', '.join(map(str, sorted({run.seed for run in complete}))),
        hardware=f'{_all(complete, "hardware")}, commit {_all(complete, "commit")}',
        date=_all(complete, 'date'),
    )
    rows = {
        name: [spread(values(group, metric)) for metric in columns.values()]
        for name, group in by_config(complete).items()
    }
    content = dict(setting, columns=list(columns), rows=rows, command=command)
    return yaml.safe_dump([content], sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None)


def _all(runs: Sequence[Run], key: str) -> str:
    """The distinct values in the records of the runs."""
    return ', '.join(sorted({run.record[key] for run in runs}))
