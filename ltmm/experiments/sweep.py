"""Search for the best settings of a config on validation data, with Optuna."""

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from ltmm.engine.post_process.validation_data import same_images
from ltmm.engine.runner.model_outputs import underlying_datasets
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

from .jobs import Job, Launcher
from .pool import progress_bar, run_jobs
from .recipes import parsed
from .run import TOOLS

if TYPE_CHECKING:
    import optuna

__all__ = ['Sweep', 'read_search', 'with_validation_data']

MAX_FAILURES = 3  # in a row


def read_search(texts: Sequence[str]) -> dict[str, list | dict]:
    """Read ``KEY=LOW:HIGH``, ``KEY=LOW:HIGH:log`` (whole numbers if both ends are) or ``KEY=A,B,C``.

    Returns:
        ``{key: dict(low=..., high=..., log=...)}`` or ``{key: [choices]}``.
    """
    found: dict[str, list | dict] = {}
    for text in texts:
        key, _, values = text.partition('=')
        if set(values) & set('[]()'):
            raise InputError(f'Expected numbers, words or flags to search, but got a list: {text}.')
        low, *high = values.split(':')
        ends = [parsed([f'{key}={end}'])[key] for end in (low, *high[:1])] if high else []
        log = high[1:] == ['log']
        is_range = len(ends) == 2 and all(type(end) in (int, float) for end in ends) and (log or len(high) == 1)
        if high and not (is_range and ends[0] < ends[1] and (ends[0] > 0 or not log)):
            raise InputError(f'Expected KEY=LOW:HIGH or KEY=LOW:HIGH:log with LOW < HIGH, but got {text}.')
        choices = [] if high else [parsed([f'{key}={value}'])[key] for value in values.split(',') if value]
        if not key or (not high and len(choices) < 2):
            raise InputError(f'Expected KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C, but got {text}.')
        if key in found:
            raise InputError(f'{key} is searched twice.')
        found[key] = dict(low=ends[0], high=ends[1], log=log) if high else choices
    return found


def with_validation_data(cfg: Config, holdout: float = 0.2, seed: int = 0) -> Config:
    """Return a config whose validation data are not its test data, and that has no test.

    Data of ``val_dataloader`` that are not the test set stay. Else a share of the training images of each class, which
    are not trained on, takes their place: :class:`ltmm.datasets.Holdout`.

    Args:
        cfg: Config of a training without stages.
        holdout: Share of the training images of each class.
        seed: Seed of the split.
    """
    check(holdout=(holdout, 'in (0, 1)'))
    if 'stages' in cfg:
        raise InputError('A sweep trains once for each setting: expected a config without `stages`.')
    if not cfg.get('val_dataloader'):
        raise InputError('A sweep compares figures of the validation: expected a val_dataloader, but there is none.')
    cfg = Config(copy.deepcopy(cfg._cfg_dict), filename=cfg.filename)
    val, train = cfg.val_dataloader.dataset, cfg.train_dataloader.dataset
    if not cfg.get('test_dataloader') or same_images(val, cfg.test_dataloader.dataset):
        if cfg.get('default_scope') == 'mmdet':
            raise InputError(
                'Expected validation data that are not the test data, but val_dataloader is the test set: split the '
                'training annotations into two files.'
            )
        part = dict(type='ltmm.Holdout', per_class=float(holdout), seed=seed)
        pipeline = underlying_datasets(val)[0].get('pipeline')
        held_out = copy.deepcopy(train)
        for leaf in underlying_datasets(held_out):
            leaf['test_mode'] = True
            if pipeline is not None:
                leaf['pipeline'] = copy.deepcopy(pipeline)
        cfg.train_dataloader.dataset = dict(part, part='train', dataset=train)
        cfg.val_dataloader.dataset = dict(part, part='val', dataset=held_out)
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    return cfg


@dataclass
class Sweep:
    """Trials of a config, kept in ``WORK_DIR/study.db``: the same sweep goes on from what is there.

    Args:
        config: Config with validation data, see :func:`with_validation_data`.
        search: See :func:`read_search`.
        metric: Name of the figure in the log, such as ``'long_tail/balanced_accuracy'``.
        work_dir: Folder of the trials.
        minimize: Search the lowest figure.
        seed: Seed of the search and of all trainings.
    """

    config: Config
    search: Mapping[str, list | dict]
    metric: str
    work_dir: Path
    minimize: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_extra('launch', 'optuna')
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            storage=f'sqlite:///{self.work_dir.resolve()}/study.db',
            study_name='sweep',
            sampler=optuna.samplers.TPESampler(seed=self.seed),
            direction='minimize' if self.minimize else 'maximize',
            load_if_exists=True,
        )
        setting = dict(search=self.search, metric=self.metric, minimize=self.minimize)
        setting |= dict(config=hashlib.sha1(self.config.pretty_text.encode()).hexdigest(), seed=self.seed)
        setting = json.loads(json.dumps(setting))
        known = self.study.user_attrs.get('setting', setting)
        if changed := [key for key in setting if setting[key] != known[key]]:
            raise InputError(f'{self.work_dir} has a sweep of another {changed[0]}: choose another --work-dir.')
        self.study.set_user_attr('setting', setting)
        AtomicLocalBackend().put_text(self.config.pretty_text, self.work_dir / 'config.py')
        for trial in self._trials('RUNNING'):  # of a process that was killed
            self._fail(trial.number)
            self.study.enqueue_trial(trial.params)

    def run(self, num_trials: int, launch: Callable[[], Launcher], jobs: int = 1) -> None:
        """Run until ``num_trials`` are complete, ``jobs`` at a time; stop after three failures in a row."""
        check(trials=(num_trials, 'int >= 1'))
        done, failures = self.num_complete, 0
        if done >= num_trials:
            return
        active: dict[tuple[optuna.Trial, Path], Job] = {}

        def next_job() -> tuple[tuple['optuna.Trial', Path], list[str], Path] | None:
            if len(active) >= num_trials - done:
                return None
            trial = self.study.ask()
            folder, command = self._start(trial)
            return (trial, folder), command, folder

        def ended(item: tuple['optuna.Trial', Path], code: int) -> None:
            nonlocal done, failures
            trial, folder = item
            problem = self._finish(trial, folder, code)
            done, failures = (done, failures + 1) if problem else (done + 1, 0)
            shown = problem or f'{self.metric} {self.study.trials[trial.number].value:.4g}'
            line = f'{done}/{num_trials} {" ".join(settings(trial.params))}: {shown}'
            progress.console.print(line, soft_wrap=True, highlight=False)
            progress.update(task, completed=done)
            if failures == MAX_FAILURES:
                raise InputError(f'{failures} trials in a row failed, the last so: {problem}')

        with progress_bar() as progress:
            task = progress.add_task('', total=num_trials, completed=done)
            run_jobs(launch(), jobs, active, next_job, ended)

    @property
    def num_complete(self) -> int:
        """Number of complete trials."""
        return len(self._trials('COMPLETE'))

    @property
    def best(self) -> list[str]:
        """The best setting as ``KEY=VALUE``."""
        return settings(self.study.best_params)

    def _start(self, trial: 'optuna.Trial') -> tuple[Path, list[str]]:
        for key, space in self.search.items():
            if isinstance(space, list):
                trial.suggest_categorical(key, space)
            elif isinstance(space['low'], int) and isinstance(space['high'], int):
                trial.suggest_int(key, **space)
            else:
                trial.suggest_float(key, **space)
        own = settings(trial.params)
        name = hashlib.sha1(' '.join(own).encode()).hexdigest()[:10]  # a trial that is repeated is resumed
        folder = self.work_dir.resolve() / 'trials' / name
        folder.mkdir(parents=True, exist_ok=True)
        trial.set_user_attr('folder', str(folder))
        options = [*own, f'randomness.seed={self.seed}']
        config = str(self.work_dir.resolve() / 'config.py')
        command = [f'{TOOLS}/train.py', config, '--resume', '--work-dir', str(folder), '--cfg-options', *options]
        return folder, command

    def _finish(self, trial: 'optuna.Trial', folder: Path, code: int) -> str | None:
        """Tell the study how a trial ended; return its problem in one line, or None."""
        if code:
            lines = (folder / 'output.log').read_text(errors='replace').strip().splitlines()
            problem = f'{lines[-1]} ({folder}/output.log)'
        else:
            value, names = last_figure(folder, self.metric)
            if value is not None and math.isfinite(value):
                self.study.tell(trial, value)
                return None
            problem = f'its validation has no finite {self.metric}, only {", ".join(names)}'
        self._fail(trial.number)
        return problem

    def _fail(self, number: int) -> None:
        from optuna.trial import TrialState

        self.study.tell(number, state=TrialState.FAIL)

    def _trials(self, state: str) -> list:
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=[TrialState[state]])


def last_figure(folder: Path, metric: str) -> tuple[float | None, list[str]]:
    """Return the last value of a figure in the log of a training, and the names of all that a validation gave."""
    value, names = None, {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):  # those of resumed runs too
        for line in file.read_text().splitlines():
            figures = json.loads(line)
            value = figures.get(metric, value)
            names |= {name: None for name in figures if '/' in name}
    return value, list(names)


def settings(params: Mapping[str, Any]) -> list[str]:
    """Parameters as ``KEY=VALUE``."""
    return [f'{key}={value}' for key, value in params.items()]
