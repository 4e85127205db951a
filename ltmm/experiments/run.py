"""Runs of a config with a seed, and the table of their results."""

import contextlib
import hashlib
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml
from mmengine.config import Config

from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError
from ltmm.utils.work_dir import latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
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
EMPTY_GROUP = -1  # metric of a group without classes
COST = 'cost'  # the time in units of the run of the baseline with the same seed
CPU_TIMES = 'cpu_seconds.txt'  # in the folder of a run, one line for each process
FRACTIONS = 'lvis/'  # prefix of metrics in [0, 1]; the others are in percent


@dataclass(eq=False)
class Run:
    """One training of a config with a seed."""

    config: Path
    cfg: Config
    seed: int
    work_dir: Path  # the common one of all runs
    options: list[str]
    amp: bool = False
    first_stage: 'Run | None' = None  # the run that trains its first stage
    baseline: 'Run | None' = None  # the run whose time is the unit of the cost
    step: str = 'train'  # or 'test'
    process: BaseProcess | None = None
    started: float = 0.0
    record: dict = field(default_factory=dict)  # run.json

    def __post_init__(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError):  # missing, or half-written by an older version
            self.record = json.loads((self.folder / 'run.json').read_text())

    @property
    def name(self) -> str:
        return self.config.stem

    @property
    def folder(self) -> Path:
        return self.work_dir / self.name / f'seed_{self.seed}'

    def __str__(self) -> str:
        return f'{self.name}, seed {self.seed}'

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings without the seed, which is in the name of the folder."""
        stages = [Config.fromfile(stage.config) for stage in self.cfg.get('stages', []) if 'config' in stage]
        amp = ['--amp'] if self.amp else []
        text = json.dumps([*(cfg.to_dict() for cfg in [*stages, self.cfg]), [*amp, *self.options]], default=str)
        return hashlib.sha1(text.encode()).hexdigest()

    @property
    def is_complete(self) -> bool:
        return self.record.get('state') == 'complete' and self.record['fingerprint'] == self.fingerprint

    @property
    def length(self) -> tuple[int | None, str]:
        """Length of the training and its unit."""
        train = self.cfg.get('train_cfg') or {}
        return (train['max_iters'], 'iter') if train.get('max_iters') else (train.get('max_epochs'), 'epoch')

    @property
    def trained(self) -> list[int]:
        """Epochs or iterations of the last checkpoint of each stage so far."""
        files = sorted(self.folder.glob('stage*/last_checkpoint')) or [self.folder / 'last_checkpoint']
        found = [re.search(r'_(\d+)\.pth', file.read_text()) for file in files if file.exists()]
        return [int(match[1]) for match in found if match]

    @property
    def progress(self) -> str:
        """Epochs or iterations of the stages, ``'200 (ce_r32) + 3'``."""
        given = [f'{self.first_stage.trained[-1]} ({self.first_stage.name})'] if self.takes_first_stage else []
        unit = ' iterations' if self.length[1] == 'iter' else ''
        return ' + '.join([*given, *map(str, self.trained)]) + unit

    @property
    def takes_first_stage(self) -> bool:
        """Whether the first stage is that of another row; run.json keeps it, as that row may be complete only later."""
        is_there = self.first_stage is not None and self.first_stage.is_complete
        return is_there and self.record.get('takes_first_stage', True)

    @property
    def parts(self) -> list['Run']:
        """The runs whose time is that of all stages."""
        return [self, *(self.first_stage.parts if self.takes_first_stage else [])]

    @property
    def cost(self) -> float:
        """Time of all stages in that of the baseline: CPU time, so that other processes don't count, where all have it.

        Runs on a GPU don't have it, nor do those of older versions.
        """
        if not self.baseline.is_complete:
            return EMPTY_GROUP
        has_cpu_time = all('cpu_seconds' in run.record for run in self.parts + self.baseline.parts)
        key = 'cpu_seconds' if has_cpu_time else 'seconds'
        own, unit = (sum(run.record[key] for run in runs) for runs in (self.parts, self.baseline.parts))
        return own / unit

    @property
    def last_checkpoint(self) -> Path:
        checkpoint = latest_checkpoint(self.folder)
        if checkpoint is None:
            raise InputError(f'{self.folder} has no checkpoint. Delete its run.json to train {self} again.')
        return Path(checkpoint)

    @property
    def command(self) -> list[str]:
        """Script and arguments of the current step."""
        settings = self.options if self.step == 'train' else of_stage(self.options, len(self.cfg.get('stages', [])))
        options = ['--work-dir', str(self.folder), '--cfg-options', *settings, f'randomness.seed={self.seed}']
        if self.step == 'test':
            out = ['--out', str(self.folder / 'metrics.json')]
            return [f'{ROOT}/tools/test.py', str(self.config), str(self.last_checkpoint), *out, *options]
        options = ['--amp', *options] if self.amp else options
        if 'stages' not in self.cfg:
            return [f'{ROOT}/tools/train.py', str(self.config), '--resume', *options]
        given = ['--first-stage', str(self.first_stage.last_checkpoint)] if self.takes_first_stage else []
        return [f'{ROOT}/tools/train_stages.py', str(self.config), *given, *options]

    def save(self, state: str, **values: object) -> None:
        """Write run.json, and add the time since it was last written."""
        now = time.time()
        seconds = self.record.get('seconds', 0) + (now - self.started if self.started else 0)
        self.started = now
        self.record |= dict(state=state, fingerprint=self.fingerprint, seconds=seconds, **values)
        AtomicLocalBackend().put_text(json.dumps(self.record, indent=2), self.folder / 'run.json')


def of_stage(options: Sequence[str], number: int) -> list[str]:
    """Return the overrides that apply to the model of a stage; 0 stands for a training without stages."""
    found = [option.removeprefix(f'stage{number}.') for option in options]
    return [option for option in found if not re.match(r'stages?\d*\.', option)]


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


def columns(runs: Sequence[Run]) -> dict[str, str]:
    """``{title: metric}`` of the evaluators of the runs."""
    found: dict[str, str] = {}
    for cfg in {run.name: run.cfg for run in runs}.values():
        evaluators = cfg.get('test_evaluator') or []
        for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
            found |= COLUMNS.get(evaluator['type'].split('.')[-1], {})
    return found


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


def table(runs: Sequence[Run], columns: dict[str, str]) -> str:
    """Markdown table with one row per config; the time is that of one run without a first stage of another row."""
    head = ['method', *columns, 'seeds', 'epochs', 'time', 'date', 'hardware', 'commit']
    rows = [head, ['---', *('---:' for _ in columns), *('---' for _ in head[len(columns) + 1 :])]]
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
                ', '.join(str(run.seed) for run in complete),
                _all(complete, 'epochs'),
                f'{bound}{timedelta(seconds=round(seconds))}',
                *(_all(complete, key) for key in ('date', 'hardware', 'commit')),
            ]
        )
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


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


def by_config(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """``{config: runs}``."""
    return {name: [run for run in runs if run.name == name] for name in dict.fromkeys(run.name for run in runs)}


def _all(runs: Sequence[Run], key: str) -> str:
    """The distinct values in the records of the runs."""
    return ', '.join(sorted({run.record[key] for run in runs}))
