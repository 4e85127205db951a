"""Train configs with several seeds, test the last checkpoints, and print the results as a table.

    python tools/analysis_tools/run_table.py configs/cifar100_lt/*_r32.py --seeds 0 1 2 --work-dir work_dirs/table
    python tools/analysis_tools/run_table.py --recipe configs/cifar100_lt/leaderboard.yml

A recipe is a YAML file of settings under which the configs are compared: `all` of every stage, `training` of trainings
from scratch (the other stages of a method keep their own), and `methods`, `{config: its own settings}`; a setting
`null` takes back one of the former.

Run the command again to skip complete runs, resume interrupted ones and retry failed ones. A run calls `tools/train.py`
(`tools/train_stages.py` for a config with `stages`) and `tools/test.py` in a process of its own, with its output in
WORK_DIR/<config>/seed_<seed>/output.log. A first stage that is also one of the configs is trained once. The unit
of the cost is the first method of the recipe, or else the first config. The record for configs/<benchmark>/results.yml
(see model_zoo.py) is written to WORK_DIR/results.yml.
"""

import argparse
import contextlib
import fcntl
import itertools
import json
import multiprocessing
import os
import runpy
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml
from mmengine.config import Config, DictAction
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from table_of_runs import (
    COST,
    CPU_TIMES,
    Run,
    check_classes,
    columns,
    of_stage,
    points,
    record,
    spread,
    table,
    values,
)

from ltmm.registry import DATASET_PACKAGES, MODEL_PACKAGES
from ltmm.utils.errors import InputError
from ltmm.utils.provenance import commit, hardware

IMPORTED_ONCE = [*DATASET_PACKAGES, 'ltmm.engine', 'ltmm.evaluation', *MODEL_PACKAGES, 'ltmm.utils.launch']
POLL_SECONDS = 0.2
TERMINATED = 143  # exit status after a signal, after which the times below are written
BUSY = 75  # exit status if another process has locked the run


# ---------------------------------------------------------------------- running


def run_all(runs: Sequence[Run], jobs: int) -> dict[str, str]:
    """Run all incomplete runs, ``jobs`` at a time; return the problems of failed runs."""
    waiting = [run for run in runs if not run.is_complete]
    print(f'{len(runs)} runs: {len(runs) - len(waiting)} complete, {len(waiting)} to go.', flush=True)
    if not waiting:
        return {}
    context, total = starter(), len(waiting)
    active: list[Run] = []
    failures: dict[str, str] = {}
    done = 0
    titles = columns(runs)
    with bar() as progress, terminated_at_exit(active):
        task = progress.add_task('', total=total)

        def end(run: Run, problem: str | None) -> None:
            nonlocal done
            done += 1
            if problem:
                failures[str(run)] = problem
            reached = problem or ', '.join(f'{title} {spread(values([run], key))}' for title, key in titles.items())
            progress.update(task, completed=done)
            seconds = progress.tasks[0].time_remaining
            left = f'; {timedelta(seconds=round(seconds))} to go' if seconds else ''
            progress.console.print(f'{done}/{total} {run}: {reached}{left}', soft_wrap=True, highlight=False)

        while waiting or active:
            while len(active) < jobs and (ready := [run for run in waiting if run.first_stage not in waiting + active]):
                run = ready[0]
                waiting.remove(run)
                if problem := begin(run):
                    end(run, problem)
                else:
                    run.process = start(run, context)
                    active.append(run)
            for run in [run for run in active if not run.process.is_alive()]:
                problem = problem_of(run)
                if problem is None and run.step == 'train':
                    run.step = 'test'
                    run.process = start(run, context)
                    continue
                active.remove(run)
                finish(run, problem)
                end(run, problem)
            shown = ', '.join(f'{run}: {run.step} {run.progress}' for run in active)
            progress.update(task, completed=done + sum(map(fraction, active)), description=shown)
            time.sleep(POLL_SECONDS)
    return failures


def starter() -> BaseContext:
    """Multiprocessing context: forks a server with the frameworks imported, or spawns with a GPU (CUDA cannot fork)."""
    import torch

    if torch.cuda.is_available():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED_ONCE)
    first = context.Process(target=time.sleep, args=(0,))  # no run is charged for the imports
    first.start()
    first.join()
    return context


def bar() -> Progress:
    """Progress bar over the runs; the remaining time follows from the mean speed."""
    columns = [TextColumn('{task.completed:.1f}/{task.total}'), BarColumn(), TimeElapsedColumn()]
    columns += [TextColumn('to go'), TimeRemainingColumn(), TextColumn('{task.description}')]
    return Progress(*columns, speed_estimate_period=float('inf'))


def fraction(run: Run) -> float:
    """Completed fraction of a run of one stage."""
    length = run.length[0]
    if not length or 'stages' in run.cfg:
        return 0.0
    return 0.99 * next(iter(run.trained), 0) / length  # read once: MMEngine empties the file before it writes


@contextlib.contextmanager
def terminated_at_exit(active: list[Run]) -> Iterator[None]:
    """Stop the active runs when this process ends, and save the time each took so far."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated; the same command goes on from here.'))
    try:
        yield
    except KeyboardInterrupt:
        sys.exit('Interrupted; the same command goes on from here.')
    finally:
        for run in active:
            run.process.terminate()
            run.process.join()
            run.save('interrupted')
        signal.signal(signal.SIGTERM, previous)


def begin(run: Run) -> str | None:
    """Mark the run as running; return the reason if it cannot start."""
    if run.record and run.record['fingerprint'] != run.fingerprint:
        return f'its config has changed since it was started: delete {run.folder} or choose another --work-dir'
    unknown_time = run.record.get('state') == 'running'  # killed before it could save its time
    run.save(
        'running',
        time_is_lower_bound=unknown_time or run.record.get('time_is_lower_bound', False),
        takes_first_stage=run.takes_first_stage,
    )
    return None


def start(run: Run, context: BaseContext) -> BaseProcess:
    """Start the current step of a run."""
    process = context.Process(target=_script, args=(run.command, run.folder))
    process.start()
    return process


def _script(command: list[str], folder: Path) -> None:
    """Do what ``python COMMAND`` does in the new process, with the output in a file and the run locked."""
    with open(folder / 'run.lock', 'w') as lock, open(folder / 'output.log', 'ab', buffering=0) as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        print(f'$ python {shlex.join(command)}', flush=True)
        sys.argv = command
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        try:
            runpy.run_path(command[0], run_name='__main__')
        finally:
            used = os.times()
            with open(folder / CPU_TIMES, 'a') as file:
                print(used.user + used.system + used.children_user + used.children_system, file=file)


def problem_of(run: Run) -> str | None:
    """One line on the problem of the step that has ended, or None."""
    code = run.process.exitcode
    if code == BUSY:
        return f'another process is running it in {run.folder}'
    if code:
        lines = (run.folder / 'output.log').read_text(errors='replace').strip().splitlines()
        last = f'killed by signal {-code}' if code < 0 else lines[-1]
        return f'{last} ({run.folder}/output.log)'
    length, unit = run.length
    if run.step == 'train' and length and 'stages' not in run.cfg and run.trained != [length]:
        return f'the last checkpoint in {run.folder} is of {unit} {sum(run.trained)} of {length}'
    return None


def finish(run: Run, problem: str | None) -> None:
    """Save how the run ended, unless another process owns it."""
    import torch

    if run.process.exitcode == BUSY:
        return
    if problem:
        run.save('failed')
        return
    metrics = json.loads((run.folder / 'metrics.json').read_text())
    today = date.today().isoformat()
    times = {} if torch.cuda.is_available() else dict(cpu_seconds=cpu_seconds(run.folder))
    run.save(
        'complete', metrics=metrics, epochs=run.progress, date=today, hardware=hardware(), commit=commit(), **times
    )


def cpu_seconds(folder: Path) -> float:
    return sum(map(float, (folder / CPU_TIMES).read_text().split()))


# ---------------------------------------------------------------------- command line


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, help='configs to compare; default: all of the recipe')
    parser.add_argument('--recipe', type=Path, help='YAML file of settings')
    parser.add_argument('--seeds', nargs='+', type=int, action='extend', help='seeds of each config; default: 0 1 2')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/table'), help='folder of the runs')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as in tools/train.py')
    parser.add_argument('--amp', action='store_true', help='as in tools/train.py')
    parser.add_argument(
        '--cost',
        action='store_true',
        help='add the time of training and test, in units of the first method',
    )
    parser.add_argument('--metrics', nargs='+', default=[], help='more columns, such as calibration/ece')
    parser.add_argument('--plot', type=Path, help='image of the accuracy against the cost')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time')
    parser.add_argument('--no-run', action='store_true', help='only print the table of complete runs')
    parser.add_argument('--out', type=Path, help='default: WORK_DIR/results.yml')
    args = parser.parse_args(argv)
    args.seeds = args.seeds or [0, 1, 2]
    if min(args.seeds) < 0:
        parser.error(f'--seeds: expected at least 0, but got {min(args.seeds)}')
    if args.jobs < 1:
        parser.error(f'--jobs: expected at least 1, but got {args.jobs}')
    if not args.configs and not args.recipe:
        parser.error('expected configs or a --recipe')
    return args


def plan(args: argparse.Namespace) -> list[Run]:
    """The requested runs, grouped by config."""
    recipe = read_recipe(args.recipe) if args.recipe else {}
    configs = args.configs or [args.recipe.parent / f'{name}.py' for name in recipe['methods']]
    stems = [config.stem for config in configs]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(f'Expected configs of different names, but two are called {twice[0]}.')

    def runs_of(config: Path) -> list[Run]:
        cfg = Config.fromfile(config)
        options = [*settings(recipe, config.stem, from_scratch(cfg)), *args.cfg_options]
        try:
            cfg.merge_from_dict(parsed(of_stage(options, len(cfg.get('stages', [])))))
        except (KeyError, TypeError) as e:
            raise ValueError(f'{config}: its settings do not fit ({e}): {" ".join(options)}') from None
        return [
            Run(config, cfg, seed, args.work_dir.resolve(), options, args.amp) for seed in dict.fromkeys(args.seeds)
        ]

    runs = {config.resolve(): runs_of(config) for config in configs}
    for group in list(runs.values()):
        config = first_trained(group[0].cfg)
        if not config or any(option.startswith('stages.') for option in group[0].options):
            continue
        firsts = runs.get(config.resolve()) or runs_of(config)
        if parsed(of_stage(group[0].options, 1)) == parsed(firsts[0].options):
            for run, first_stage in zip(group, firsts):
                run.first_stage = first_stage
    unit = (args.recipe.parent / f'{next(iter(recipe["methods"]))}.py' if recipe else configs[0]).resolve()
    baselines = runs.get(unit) or runs_of(unit)
    for group in runs.values():
        for run, baseline in zip(group, baselines):
            run.baseline = baseline
    return [run for group in runs.values() for run in group]


def read_recipe(file: Path) -> dict[str, dict]:
    """Read a recipe, see the top of this file."""
    try:
        recipe = yaml.safe_load(file.read_text(encoding='utf-8'))
    except yaml.YAMLError as e:
        raise ValueError(f'{file} is no YAML file: {" ".join(str(e).split())}') from None
    if not isinstance(recipe, dict) or not recipe.get('methods') or set(recipe) - {'all', 'training', 'methods'}:
        got = list(recipe) if isinstance(recipe, dict) else recipe
        raise ValueError(f'{file}: expected `methods` and, as you like, `all` and `training`, but got {got}.')
    groups = {name: _mapping(file, name, recipe.get(name)) for name in ('all', 'training', 'methods')}
    groups['methods'] = {name: _mapping(file, name, own) for name, own in groups['methods'].items()}
    for group in [groups['all'], groups['training'], *groups['methods'].values()]:
        for key, value in group.items():
            if not _reads_back(key, value):
                raise ValueError(
                    f'{file}: expected {key} to be as on the command line, but got {value!r}. YAML takes 1e-4 for '
                    'text, 1.0e-4 for a number.'
                )
    return groups


def _mapping(file: Path, name: str, value: object) -> dict:
    if not isinstance(value, (dict, type(None))):
        raise ValueError(f'{file}: expected `{name}` to hold lines KEY: VALUE, but got {value!r}.')
    return value or {}


def _reads_back(key: str, value: object) -> bool:
    """Whether ``--cfg-options`` reads a setting as it is: no mapping, and no string with spaces or commas."""
    try:
        return value is None or parsed([_option(key, value)]) == {key: value}
    except AssertionError:  # brackets that do not match
        return False


def _option(key: str, value: object) -> str:
    return f'{key}={value}'.replace(' ', '')


def from_scratch(cfg: Config) -> list[str]:
    """The prefixes of settings for the trainings from scratch: the first stage, and the next after any teacher."""
    if 'stages' not in cfg:
        return ['']
    teachers = itertools.takewhile(lambda stage: stage.type in ('TeacherStage', 'ltmm.TeacherStage'), cfg.stages)
    return [f'stage{number}.' for number in range(1, len(list(teachers)) + 2)]


def settings(recipe: dict[str, dict], name: str, prefixes: Sequence[str]) -> list[str]:
    """The settings of a config as ``KEY=VALUE``; those of a later stage are named ``stage2.KEY``."""
    training = {f'{prefix}{key}': value for prefix in prefixes for key, value in recipe.get('training', {}).items()}
    found = recipe.get('all', {}) | training | recipe.get('methods', {}).get(name, {})
    return [_option(key, value) for key, value in found.items() if value is not None]


def parsed(options: list[str]) -> dict:
    """Overrides as ``--cfg-options`` reads them."""
    reader = argparse.ArgumentParser()
    reader.add_argument('--options', nargs='+', action=DictAction, default={})
    return reader.parse_args(['--options', *options] if options else []).options


def first_trained(cfg: Config) -> Path | None:
    """Return the config that the first stage trains; None if there are no stages, or it trains ``cfg`` itself."""
    first = (cfg.get('stages') or [{}])[0]
    is_training = first.get('type') in ('TrainStage', 'ltmm.TrainStage')
    return Path(first.config) if is_training and 'config' in first else None


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print the table and write the record; exit with status 1 if a run failed."""
    args = parse_args(argv)
    if args.jobs > 1:
        os.environ.setdefault('OMP_NUM_THREADS', str(max(len(os.sched_getaffinity(0)) // args.jobs, 1)))
    try:
        runs = plan(args)
    except (OSError, ValueError) as e:
        sys.exit(f'{type(e).__name__}: {e}')
    failures = {} if args.no_run else run_all(runs, args.jobs)
    try:
        check_classes(runs)
    except InputError as e:
        sys.exit(f'{e} (--no-run prints a table of complete runs.)')
    metrics = columns(runs) | {metric.split('/')[-1]: metric for metric in args.metrics}
    metrics |= {'cost': COST} if args.cost else {}
    command = f'python tools/analysis_tools/run_table.py {shlex.join(sys.argv[1:] if argv is None else argv)}'
    out = args.out or args.work_dir / 'results.yml'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(record(runs, metrics, command), encoding='utf-8')
    print(f'\n{table(runs, metrics)}\n\nWrote {out}')
    if args.plot:
        from ltmm.visualization import plot_accuracy_against_cost

        plot_accuracy_against_cost(points(runs), args.plot, baseline=runs[0].baseline.name)
    if failures:
        sys.exit('\n'.join([f'{len(failures)} runs failed:', *(f'- {run}: {why}' for run, why in failures.items())]))


if __name__ == '__main__':
    main()
