"""Options of the tools that choose where runs are executed."""

import argparse
import os
from collections.abc import Callable

from .jobs import Launcher, LocalLauncher, RayLauncher, SlurmLauncher

__all__ = ['add_launcher_arguments', 'check_launcher_arguments', 'launcher_of']

OF_SLURM = ('partition', 'minutes', 'slurm_options')


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, ``--jobs`` and what a cluster needs to know."""
    group = parser.add_argument_group('where the runs are executed')
    group.add_argument(
        '--launcher', choices=['local', 'slurm', 'ray'], default='local', help='default: local processes'
    )
    group.add_argument('--jobs', type=int, help='runs at a time; default: 1 locally, all on a cluster')
    group.add_argument('--gpus', type=int, choices=[0, 1], help='GPUs of a run; needed for slurm and ray')
    group.add_argument('--cpus', type=int, help='CPUs of a run on slurm and ray; default: 1')
    group.add_argument('--partition', help='of Slurm')
    group.add_argument('--minutes', type=int, help='time limit of a training or test; needed for slurm')
    group.add_argument(
        '--slurm-options', nargs='+', metavar='KEY=VALUE', help='other options of sbatch: account=me qos=low'
    )


def check_launcher_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error for options that contradict each other."""
    given = {
        key: value for key, value in vars(args).items() if key in ('gpus', 'cpus', *OF_SLURM) and value is not None
    }
    fits = dict(local=(), slurm=('gpus', 'cpus', *OF_SLURM), ray=('gpus', 'cpus'))[args.launcher]
    if unused := [key for key in given if key not in fits]:
        parser.error(f'--{unused[0].replace("_", "-")} has no effect with --launcher {args.launcher}')
    if args.launcher != 'local' and args.gpus is None:
        parser.error(f'--launcher {args.launcher} needs --gpus: 1, or 0 to train on CPUs')
    if args.launcher == 'slurm' and args.minutes is None:
        parser.error('--launcher slurm needs --minutes, the time limit of a training or test')
    for key in ('jobs', 'cpus', 'minutes'):
        if vars(args)[key] is not None and vars(args)[key] < 1:
            parser.error(f'--{key}: expected at least 1, but got {vars(args)[key]}')
    if bad := [option for option in args.slurm_options or () if not option.partition('=')[2]]:
        parser.error(f'--slurm-options takes KEY=VALUE, but got {bad[0]}')


def launcher_of(args: argparse.Namespace, num_runs: int) -> tuple[Callable[[], Launcher], int]:
    """Return what makes the launcher of a command line, and the number of runs at a time."""
    cpus = args.cpus or 1
    if args.launcher == 'local':
        jobs = args.jobs or 1
        if jobs > 1:
            os.environ.setdefault('OMP_NUM_THREADS', str(max(len(os.sched_getaffinity(0)) // jobs, 1)))
        return LocalLauncher, jobs
    jobs = args.jobs or max(num_runs, 1)
    if args.launcher == 'ray':
        return lambda: RayLauncher(args.gpus, cpus), jobs
    options = dict(option.split('=', 1) for option in args.slurm_options or ())
    folder = args.work_dir.resolve() / 'slurm'
    return lambda: SlurmLauncher(folder, args.gpus, args.minutes, cpus, args.partition, options), jobs
