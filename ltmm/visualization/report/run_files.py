"""Files of a run in its work dir."""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import torch

from ltmm.evaluation.functional import CalibrationBins
from ltmm.evaluation.reports.class_report import ClassReport
from ltmm.evaluation.reports.detection_report import DetectionReport
from ltmm.evaluation.reports.multi_label_report import MultiLabelReport
from ltmm.evaluation.reports.run_comparison import latest_evaluation, method_folder, read_run
from ltmm.utils.checkpoints import read_checkpoint
from ltmm.utils.data_files import DataFileError, read_json, read_text
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

from .multi_label_predictions import MultiLabelPredictions
from .predictions import Predictions, SingleLabelPredictions
from .settings import SEED, flat_settings, without_seed

__all__ = ['Method', 'RunFiles', 'group_by_config', 'read_run_files', 'json_lines']

NO_WEIGHTS = ('.running_mean', '.running_var', '.num_batches_tracked', 'class_distribution.')
TEST = 'with <code>python tools/test.py CONFIG CHECKPOINT --work-dir RUN --out RUN/predictions.npz</code>.'
NO_PREDICTIONS = f'no run has predictions. Write them {TEST}'
OTHER_TEST_SET = f'predictions.npz and the per-class CSV are of other test sets. Write both at once {TEST}'
REPORTS = ('per_class.csv', 'per_class_bbox.csv', 'per_class_segm.csv')


@dataclass(eq=False)
class RunFiles:
    """One run.

    Args:
        folder: Its work dir.
        report: Figures per class of its latest evaluation.
        settings: See :func:`flat_settings`.
        scalars: Lines of the ``scalars.json`` files of its training, in the order of time; of its last stage.
        bins: Calibration bins of its latest evaluation, or None.
        seconds: Wall-clock time of the training that ``run_table.py`` measured, or None.
        seconds_is_lower_bound: Whether a part of the time is unknown, after an interruption.
        is_validated_only: Whether its latest evaluation is a validation of its training, not a test.
    """

    folder: Path
    report: ClassReport
    settings: dict[str, str]
    scalars: list[dict]
    bins: CalibrationBins | None
    seconds: float | None
    seconds_is_lower_bound: bool = False
    is_validated_only: bool = False

    @property
    def seed(self) -> str:
        """Seed of the run; its folder if unknown."""
        return self.settings.get(SEED, self.folder.name)

    @property
    def predictions(self) -> Predictions | None:
        """Predictions of ``tools/test.py --out <work dir>/predictions.npz``, or None."""
        return self._predictions[0]

    @property
    def why_no_predictions(self) -> str:
        """Reason in HTML."""
        return self._predictions[1]

    @cached_property
    def _predictions(self) -> tuple[Predictions | None, str]:
        path, names = self.folder / 'predictions.npz', self.report.names
        if not path.is_file():
            return None, NO_PREDICTIONS
        if isinstance(self.report, DetectionReport):
            ann_file = self._ann_file
            if ann_file is None:
                return None, 'the dumped config names no annotation file of <code>ltmm.LVISMetric</code>.'
            if not Path(ann_file).is_file():
                return None, f'the annotation file of the test set, <code>{escape(ann_file)}</code>, is not here.'
            check_extra('det', 'pycocotools')
            from .box_predictions import BoxPredictions

            predictions = BoxPredictions.read(path, names, ann_file)
        elif isinstance(self.report, MultiLabelReport):
            predictions = MultiLabelPredictions.read(path, names)
        else:
            predictions = SingleLabelPredictions.read(path, names)
        if not np.array_equal(predictions.test_images, self.report.test_images):
            return None, OTHER_TEST_SET
        return predictions, ''

    @property
    def _ann_file(self) -> str | None:
        """Annotation file of the test evaluator in the config."""
        keys = (key for key in self.settings if re.fullmatch(r'test_evaluator(\.\d+)?\.ann_file', key))
        texts = [self.settings[key] for key in keys]
        try:
            value = ast.literal_eval(texts[0]) if texts else None
        except (ValueError, TypeError, SyntaxError):  # code, not a string
            return None
        return value if isinstance(value, str) else None

    @cached_property
    def num_weights(self) -> int | None:
        """Number of weights in its latest checkpoint, without statistics and class counts; None without one."""
        path = _latest(self.folder.glob('*.pth'))
        if path is None:
            return None
        try:
            content = read_checkpoint(path)
        except InputError:  # half-written, or not to be read without --trust
            return None
        state = content.get('state_dict', content)
        return sum(
            value.numel()
            for name, value in state.items()
            if isinstance(value, torch.Tensor) and not any(part in name for part in NO_WEIGHTS)
        )

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Return the steps and the values of a figure; after a resumed training, the last value of each step."""
        points = {line['step']: line[name] for line in self.scalars if _is_number(line, 'step', name)}
        steps = sorted(points)
        return steps, [points[step] for step in steps]

    def middle(self, name: str) -> float | None:
        """Return the median of a figure over the training, such as seconds per iteration."""
        values = [line[name] for line in self.scalars if 'loss' in line and _is_number(line, name)]
        return float(np.median(values)) if values else None


@dataclass(frozen=True, eq=False)
class Method:
    """The runs of one config with several seeds."""

    name: str
    runs: Sequence[RunFiles] = field(repr=False)

    @property
    def report(self) -> ClassReport:
        """Per-class report of the first run, for names, counts and groups."""
        return self.runs[0].report

    @property
    def values(self) -> np.ndarray:
        """Accuracy or AP per class in percent, mean over the seeds, (C,); NaN for classes not tested."""
        return np.mean([run.report.value for run in self.runs], axis=0)

    @property
    def predictions(self) -> Predictions | None:
        """The first predictions of its runs, or None."""
        return next((run.predictions for run in self.runs if run.predictions), None)

    @property
    def why_no_predictions(self) -> str:
        """Reason in HTML: that of the first run with a file, if one has."""
        reasons = [run.why_no_predictions for run in self.runs]
        return next((reason for reason in reasons if reason != NO_PREDICTIONS), reasons[0])

    def figures(self, name: str) -> np.ndarray:
        """Return a figure of each run, (S,)."""
        return np.array([run.report.figures()[name] for run in self.runs])


def read_run_files(folder: Path) -> RunFiles:
    """Read a work dir."""
    if not folder.is_dir():
        raise InputError(f'Expected work dirs, but there is no folder {folder}.')
    csv_name = next((name for name in REPORTS if any(folder.rglob(name))), REPORTS[0])
    _check_one_run(folder, csv_name)
    evaluation = latest_evaluation(folder, csv_name)[-1]
    report = read_run(evaluation).report
    if np.isnan(report.value).all():
        raise InputError(f'Expected {csv_name} of {folder} to have tested classes, but it has none.')
    bins = _latest(folder.rglob('calibration_bins.csv'))
    logs = sorted(folder.rglob('scalars.json'))  # <work dir>/<date>/vis_data/scalars.json
    latest = _latest(logs)
    beside = latest and latest.with_name('config.py')  # that in the work dir may be of a later test
    config = beside if beside and beside.is_file() else _dumped_config(folder) or _latest(folder.rglob('config.py'))
    lines_of = {path: json_lines(path) for path in logs if _work_dir(path) == _work_dir(latest)}
    beside_evaluation = lines_of.get(evaluation.parent / 'vis_data' / 'scalars.json', [])
    run = folder / 'run.json'
    record = read_json(run) if run.is_file() else {}
    record = record if isinstance(record, dict) else {}
    return RunFiles(
        folder=folder,
        report=report,
        settings=flat_settings(config) if config else {},
        scalars=[line for lines in lines_of.values() for line in lines],
        bins=CalibrationBins.read(bins) if bins else None,
        seconds=record['seconds'] if _is_number(record, 'seconds') else None,
        seconds_is_lower_bound=bool(record.get('time_is_lower_bound')),
        is_validated_only=any('loss' in line for line in beside_evaluation),
    )


def _check_one_run(folder: Path, csv_name: str) -> None:
    """Refuse a folder of several runs, such as the seeds of a method; the stages of one run are below its folder."""
    tested = {path.parents[1] if path.parent != folder else folder for path in folder.rglob(csv_name)}
    runs = sorted(str(run) for run in tested if not re.match(r'stage\d+_', run.name))
    if folder not in tested and len(runs) > 1:
        more = ', ...' * (len(runs) > 3)
        raise InputError(f'{folder} has {len(runs)} runs. Name them one by one: {", ".join(runs[:3])}{more}.')


def group_by_config(runs: Sequence[RunFiles]) -> list[Method]:
    """Put the seeds of a config together, in the order of the runs; a run without a config stands alone."""
    groups: dict[str, list[RunFiles]] = {}
    for run in runs:
        key = json.dumps(without_seed(run.settings)) if run.settings else str(run.folder)
        groups.setdefault(key, []).append(run)
    names = [_name_of(group[0]) for group in groups.values()]
    return [
        Method(name if names.count(name) == 1 else f'{name} ({group[0].folder.name})', group)
        for name, group in zip(names, groups.values())
    ]


def _name_of(run: RunFiles) -> str:
    """Return the name of the dumped config, else of the folder, or of its parent if the folder is a seed."""
    config = _dumped_config(run.folder)
    return config.stem if config else method_folder(run.folder).name


def _dumped_config(folder: Path) -> Path | None:
    """Return the config of the training; those of a test or a correction are named by their time."""
    return _latest(path for path in folder.glob('*.py') if not re.fullmatch(r'\d{8}_\d{6}', path.stem))


def _latest(paths) -> Path | None:
    return max(paths, key=lambda path: (path.stat().st_mtime_ns, path), default=None)


def _work_dir(log: Path) -> Path:
    return log.resolve().parents[2]


def json_lines(path: Path) -> list[dict]:
    """Read the dictionaries of a file with one JSON value per line."""
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            raise DataFileError(f'{path} is damaged: line {number} is not JSON.') from None
        lines += [line] if isinstance(line, dict) else []
    return lines


def _is_number(line: dict, *names: str) -> bool:
    return all(isinstance(line.get(name), (int, float)) and np.isfinite(line[name]) for name in names)
