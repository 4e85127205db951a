"""Run what is missing of a table, several runs at a time."""

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

from ltmm.utils.provenance import commit, hardware
from ltmm.utils.schedules import may_stop_early

from .jobs import BUSY, CPU_TIMES, HARDWARE, Job, Launcher
from .pool import progress_bar, run_jobs
from .run import Run
from .tables import columns, spread, values

__all__ = ['run_all']


def run_all(runs: Sequence[Run], launch: Callable[[], Launcher], jobs: int) -> dict[str, str]:
    """Execute all incomplete runs, ``jobs`` at a time; return the problems of failed runs.

    Args:
        runs: The runs of a table.
        launch: Makes the launcher, if there is anything to run.
        jobs: Runs at a time.
    """
    waiting = [run for run in runs if not run.is_complete]
    print(f'{len(runs)} runs: {len(runs) - len(waiting)} complete, {len(waiting)} to go.', flush=True)
    if not waiting:
        return {}
    launcher, total = launch(), len(waiting)
    to_test: list[Run] = []  # they have been trained
    active: dict[Run, Job] = {}
    failures: dict[str, str] = {}
    done = 0
    titles = columns(runs)

    def next_job() -> tuple[Run, list[str], Path] | None:
        if to_test:
            run = to_test.pop()
            return run, run.command, run.folder
        while ready := [run for run in waiting if run.first_stage not in [*waiting, *active]]:
            run = ready[0]
            waiting.remove(run)
            if problem := begin(run):
                end(run, problem)
            else:
                return run, run.command, run.folder
        return None

    def ended(run: Run, code: int) -> None:
        problem = problem_of(run, code)
        if problem is None and run.step == 'train':
            run.step = 'test'
            to_test.append(run)
            return
        finish(run, code, problem)
        end(run, problem)

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

    def show() -> None:
        shown = ', '.join(f'{run}: {run.step} {run.progress}' for run in active)
        progress.update(task, completed=done + sum(map(fraction, active)), description=shown)

    with progress_bar() as progress:
        task = progress.add_task('', total=total)
        try:
            run_jobs(launcher, jobs, active, next_job, ended, show)
        finally:
            for run in [*active, *to_test]:
                run.save('interrupted')
    return failures


def fraction(run: Run) -> float:
    """Completed fraction of a run of one stage."""
    length = run.length[0]
    if not length or 'stages' in run.cfg:
        return 0.0
    return 0.99 * next(iter(run.trained), 0) / length  # read once: MMEngine empties the file before it writes


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


def problem_of(run: Run, code: int) -> str | None:
    """One line on the problem of the step that has ended, or None."""
    if code == BUSY:
        return f'another process is running it in {run.folder}'
    if code:
        lines = (run.folder / 'output.log').read_text(errors='replace').strip().splitlines()
        last = f'killed by signal {-code}' if code < 0 else lines[-1]
        return f'{last} ({run.folder}/output.log)'
    length, unit = run.length
    is_short = run.trained != [length] and not (run.trained and may_stop_early(run.cfg))
    if run.step == 'train' and length and 'stages' not in run.cfg and is_short:
        return f'the last checkpoint in {run.folder} is of {unit} {sum(run.trained)} of {length}'
    return None


def finish(run: Run, code: int, problem: str | None) -> None:
    """Save how the run ended, unless another process owns it."""
    if code == BUSY:
        return
    if problem:
        run.save('failed')
        return
    metrics = json.loads((run.folder / 'metrics.json').read_text())
    remote = run.folder / HARDWARE
    where = remote.read_text(encoding='utf-8') if remote.exists() else hardware()
    times = dict(cpu_seconds=cpu_seconds(run.folder)) if (run.folder / CPU_TIMES).exists() else {}
    today = date.today().isoformat()
    run.save('complete', metrics=metrics, epochs=run.progress, date=today, hardware=where, commit=commit(), **times)


def cpu_seconds(folder: Path) -> float:
    return sum(map(float, (folder / CPU_TIMES).read_text().split()))
