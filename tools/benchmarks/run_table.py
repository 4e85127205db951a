"""Train configs with several seeds, test each at its last checkpoint, and put the results into a Markdown table.

    python tools/benchmarks/run_table.py configs/cifar100_lt/*_r32.py --seeds 0 1 2 --work-dir work_dirs/table

The same command again skips what is complete, resumes what was interrupted, and tries again what failed. A run is what
`tools/train.py` (`tools/train_stages.py` for a config with `stages`) and `tools/test.py` make of the config; it lies in
WORK_DIR/<config>/seed_<seed>, with all their output in output.log. A first stage that is a row of its own is trained
once. Each run is a process of its own, so that one that dies takes no other along; without a GPU, it is forked from one
that has imported the frameworks, which saves seconds.
"""

import argparse
import contextlib
import fcntl
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

from mmengine.config import Config, DictAction
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from table_of_runs import Run, columns, spread, table, values

from ltmm.utils.provenance import commit, hardware

IMPORTED_ONCE = ['mmpretrain.datasets', 'mmpretrain.evaluation', 'mmpretrain.models']
IMPORTED_ONCE += ['ltmm.datasets', 'ltmm.engine', 'ltmm.evaluation', 'ltmm.models', 'ltmm.utils.launch']
POLL_SECONDS = 0.2
BUSY = 75  # exit status of a run that another process is at


# ---------------------------------------------------------------------- running


def run_all(runs: Sequence[Run], jobs: int) -> dict[str, str]:
    """Run all that are not complete, ``jobs`` at a time; what went wrong, by run."""
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
    """What starts processes: without a GPU, one that has imported the frameworks. CUDA does not survive a fork."""
    import torch

    if torch.cuda.is_available():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED_ONCE)
    first = context.Process(target=time.sleep, args=(0,))  # the time of the imports belongs to no run
    first.start()
    first.join()
    return context


def bar() -> Progress:
    """A bar over the runs; the time to go is by the mean speed so far."""
    columns = [TextColumn('{task.completed:.1f}/{task.total}'), BarColumn(), TimeElapsedColumn()]
    columns += [TextColumn('to go'), TimeRemainingColumn(), TextColumn('{task.description}')]
    return Progress(*columns, speed_estimate_period=float('inf'))


def fraction(run: Run) -> float:
    """How much of a run of one stage is done."""
    length = run.length[0]
    return 0.99 * run.trained[0] / length if length and run.trained and 'stages' not in run.cfg else 0.0


@contextlib.contextmanager
def terminated_at_exit(active: list[Run]) -> Iterator[None]:
    """Leave no run behind when this process is told to stop, and keep the time each took so far."""
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
    """Note that the run starts; what stands against it."""
    if run.record and run.record['fingerprint'] != run.fingerprint:
        return f'its config has changed since it was started: delete {run.folder} or choose another --work-dir'
    unknown_time = run.record.get('state') == 'running'  # killed before it could write how long it had run
    run.save('running', time_is_lower_bound=unknown_time or run.record.get('time_is_lower_bound', False))
    return None


def start(run: Run, context: BaseContext) -> BaseProcess:
    """Start the present step of a run."""
    process = context.Process(target=_script, args=(run.command, run.folder))
    process.start()
    return process


def _script(command: list[str], folder: Path) -> None:
    """In the new process: what ``python COMMAND`` does, its output in a file, unless another process is at this run."""
    with open(folder / 'run.lock', 'w') as lock, open(folder / 'output.log', 'ab', buffering=0) as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        print(f'$ python {shlex.join(command)}', flush=True)
        sys.argv = command
        runpy.run_path(command[0], run_name='__main__')


def problem_of(run: Run) -> str | None:
    """What is wrong with the step that has ended, in one line."""
    code = run.process.exitcode
    if code == BUSY:
        return f'another process is at it, in {run.folder}'
    if code:
        lines = (run.folder / 'output.log').read_text(errors='replace').strip().splitlines()
        last = f'killed by signal {-code}' if code < 0 else lines[-1]
        return f'{last} ({run.folder}/output.log)'
    length, unit = run.length
    if run.step == 'train' and length and 'stages' not in run.cfg and run.trained != [length]:
        return f'the last checkpoint in {run.folder} is of {unit} {sum(run.trained)} of {length}'
    return None


def finish(run: Run, problem: str | None) -> None:
    """Note how the run ended, unless that is for another process to note."""
    if run.process.exitcode == BUSY:
        return
    if problem:
        run.save('failed')
        return
    metrics = json.loads((run.folder / 'metrics.json').read_text())
    today = date.today().isoformat()
    run.save('complete', metrics=metrics, epochs=run.progress, date=today, hardware=hardware(), commit=commit())


# ---------------------------------------------------------------------- command line


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', type=Path, help='one row each')
    parser.add_argument(
        '--seeds', nargs='+', type=int, action='extend', help='each config is trained with each; 0 1 2 when left out'
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/table'), help='where the runs lie')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as in tools/train.py')
    parser.add_argument('--metrics', nargs='+', default=[], help='more columns, such as calibration/ece')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time')
    parser.add_argument('--no-run', action='store_true', help='the table of what is complete, without running anything')
    parser.add_argument('--out', type=Path, help='file of the table; WORK_DIR/table.md when left out')
    args = parser.parse_args(argv)
    args.seeds = args.seeds or [0, 1, 2]
    if min(args.seeds) < 0:
        parser.error(f'--seeds: expected at least 0, but got {min(args.seeds)}')
    if args.jobs < 1:
        parser.error(f'--jobs: expected at least 1, but got {args.jobs}')
    return args


def plan(args: argparse.Namespace) -> list[Run]:
    """The runs that are asked for, the seeds of a config together.

    Raises:
        ValueError: two configs of one name.
    """
    reader = argparse.ArgumentParser()
    reader.add_argument('--options', nargs='+', action=DictAction, default={})
    options = reader.parse_args(['--options', *args.cfg_options] if args.cfg_options else []).options
    stems = [config.stem for config in args.configs]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(f'Expected configs of different names, but two are called {twice[0]}.')

    def runs_of(config: Path) -> list[Run]:
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(options)
        return [Run(config, cfg, seed, args.work_dir.resolve(), args.cfg_options) for seed in dict.fromkeys(args.seeds)]

    runs = {config.resolve(): runs_of(config) for config in args.configs}
    for group in list(runs.values()):
        stages = group[0].cfg.get('stages')
        if stages and not any(option.startswith('stage') for option in args.cfg_options):  # of single stages
            first = Path(stages[0]).resolve()
            for run, first_stage in zip(group, runs.get(first) or runs_of(first)):
                run.first_stage = first_stage
    return [run for group in runs.values() for run in group]


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is to be run, print and write the table; exit status 1 where a run failed."""
    args = parse_args(argv)
    if args.jobs > 1:
        os.environ.setdefault('OMP_NUM_THREADS', str(max(len(os.sched_getaffinity(0)) // args.jobs, 1)))
    try:
        runs = plan(args)
    except (OSError, ValueError) as e:
        sys.exit(f'{type(e).__name__}: {e}')
    failures = {} if args.no_run else run_all(runs, args.jobs)
    text = table(runs, columns(runs) | {metric: metric for metric in args.metrics})
    notes = (
        'Mean ± standard deviation over the seeds, of the last checkpoint on the test set. The time is that of a run, '
        'training and test, without a first stage that is another row.'
    )
    command = f'python tools/benchmarks/run_table.py {shlex.join(sys.argv[1:] if argv is None else argv)}'
    out = args.out or args.work_dir / 'table.md'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f'{text}\n\n{notes}\n\n    {command}\n', encoding='utf-8')
    print(f'\n{text}\n\nWrote {out}')
    if failures:
        sys.exit('\n'.join([f'{len(failures)} runs failed:', *(f'- {run}: {why}' for run, why in failures.items())]))


if __name__ == '__main__':
    main()
