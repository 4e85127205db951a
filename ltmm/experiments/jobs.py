"""Where the scripts of runs are executed: processes of this machine, Slurm or Ray."""

import contextlib
import ctypes
import fcntl
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ltmm.utils.environment import EnvironmentProblem, check_extra
from ltmm.utils.provenance import hardware

__all__ = [
    'BUSY',
    'CPU_TIMES',
    'HARDWARE',
    'POLL_SECONDS',
    'Job',
    'Launcher',
    'LocalLauncher',
    'RayLauncher',
    'SlurmLauncher',
]

CPU_TIMES = 'cpu_seconds.txt'  # in the folder of a run, one line for each process
HARDWARE = 'hardware.txt'  # in the folder of a run, where another machine executed it
POLL_SECONDS = 0.2
BUSY = 75  # exit status if another process has locked the run
TERMINATED = 143  # exit status after a signal, after which the CPU time is written


class Job(Protocol):
    """A script that is being executed; ``multiprocessing.Process`` is one."""

    exitcode: int | None

    def is_alive(self) -> bool: ...

    def terminate(self) -> None: ...

    def join(self) -> None: ...


class Launcher(Protocol):
    """Executes scripts, with their output in ``output.log`` of the folder of the run."""

    def start(self, command: list[str], folder: Path) -> Job:
        """Execute ``python COMMAND``."""


# ---------------------------------------------------------------------- this machine


class LocalLauncher:
    """Forks from a server with the frameworks imported, or spawns with a GPU, as CUDA cannot fork."""

    def __init__(self) -> None:
        import multiprocessing

        import torch

        self.context = multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'forkserver')
        if not torch.cuda.is_available():
            self.context.set_forkserver_preload(['ltmm.experiments.preload'])
            first = self.context.Process(target=int)  # no run is charged for the imports
            first.start()
            first.join()

    def start(self, command: list[str], folder: Path) -> Job:
        process = self.context.Process(target=_run_script, args=(command, folder))
        process.start()
        return process


def _run_script(command: list[str], folder: Path) -> None:
    """Do what ``python COMMAND`` does in this process."""
    with _locked_log(folder, command) as log:
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = command
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        try:
            runpy.run_path(command[0], run_name='__main__')
        finally:
            _write_cpu_time(folder, 0.0)


@contextlib.contextmanager
def _locked_log(folder: Path, command: list[str]) -> Iterator[int]:
    """Lock a run and open its log; exit if another process has locked it."""
    with open(folder / 'run.lock', 'w') as lock, open(folder / 'output.log', 'ab', buffering=0) as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(BUSY)
        log.write(f'$ python {shlex.join(command)}\n'.encode())
        yield log.fileno()


def _cpu_time() -> float:
    """CPU seconds of this process and its children that have ended."""
    return sum(os.times()[:4])


def _write_cpu_time(folder: Path, before: float) -> None:
    """Add the CPU time since ``before``, except on a machine with a GPU, where it says nothing about a training."""
    import torch

    if torch.cuda.is_available():
        return
    with open(folder / CPU_TIMES, 'a') as file:
        print(_cpu_time() - before, file=file)


# ---------------------------------------------------------------------- clusters


def run_remotely(command: list[str], folder: str, cwd: str) -> int:
    """Execute ``python COMMAND`` on a machine of a cluster that shares the file system; return its exit status."""
    before, process = _cpu_time(), None  # Ray executes several runs in one process
    try:
        with _locked_log(Path(folder), command) as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                preexec_fn=_die_with_parent,
            )
            try:
                while process.poll() is None:  # Ray's cancellation does not interrupt wait()
                    time.sleep(POLL_SECONDS)
                return process.returncode
            finally:  # cancelled
                process.terminate()
                process.wait()
    except SystemExit as e:
        return e.code
    finally:
        if process is not None:
            (Path(folder) / HARDWARE).write_text(hardware(), encoding='utf-8')
            _write_cpu_time(Path(folder), before)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class ClusterJob:
    """Base of the jobs of a cluster.

    Args:
        folder: Folder of the run; a failure of the cluster itself is added to its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exitcode: int | None = None

    @property
    def exitcode(self) -> int | None:
        if self._exitcode is None and not self.is_alive():
            try:
                self._exitcode = self._result()
            except Exception as e:  # whatever a cluster reports: node failure, time limit, out of memory
                lines = str(e).strip().splitlines() or [type(e).__name__]
                with open(self.folder / 'output.log', 'a', encoding='utf-8') as log:
                    print(*lines, sep='\n', file=log)
                self._exitcode = 1
        return self._exitcode

    def _result(self) -> int:
        raise NotImplementedError


class SlurmLauncher:
    """Submits each script to Slurm by submitit, one job and one process each.

    Args:
        folder: Where submitit keeps its scripts and logs; seen by all machines.
        gpus: GPUs of a job, 0 or 1.
        minutes: Time limit of a job.
        cpus: CPUs of a job.
        partition: Partition. None: the default one.
        options: Other options of sbatch, such as ``dict(account='me', qos='low')``.
        cluster: ``'slurm'``, or ``'local'`` for processes of this machine in its place.
    """

    def __init__(
        self,
        folder: Path,
        gpus: int,
        minutes: int,
        cpus: int = 1,
        partition: str | None = None,
        options: dict[str, str] | None = None,
        cluster: str = 'slurm',
    ) -> None:
        check_extra('launch', 'submitit')
        if cluster == 'slurm' and shutil.which('sbatch') is None:
            raise EnvironmentProblem('--launcher slurm needs sbatch, which this machine lacks: use a login node.')
        import submitit

        self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        settings = dict(slurm_partition=partition, slurm_additional_parameters=options, gpus_per_node=gpus)
        given = {key: value for key, value in settings.items() if value}
        self.executor.update_parameters(name='ltmm', cpus_per_task=cpus, timeout_min=minutes, **given)

    def start(self, command: list[str], folder: Path) -> Job:
        return SlurmJob(self.executor.submit(run_remotely, command, str(folder), os.getcwd()), folder)


class SlurmJob(ClusterJob):
    """A job of submitit."""

    def __init__(self, job: Any, folder: Path) -> None:
        super().__init__(folder)
        self.job = job

    def is_alive(self) -> bool:
        return not self.job.done()

    def terminate(self) -> None:
        self.job.cancel()

    def join(self) -> None:
        with contextlib.suppress(Exception):  # cancelled
            self.job.result()

    def _result(self) -> int:
        return self.job.result()


class RayLauncher:
    """Runs each script as a task of Ray: on the cluster of RAY_ADDRESS, or on all GPUs and CPUs of this machine.

    Args:
        gpus: GPUs of a task, 0 or 1.
        cpus: CPUs of a task.
    """

    def __init__(self, gpus: int, cpus: int = 1) -> None:
        check_extra('launch', 'ray')
        import ray

        names = [name for name in os.environ if name == 'PYTHONPATH' or name.startswith('LTMM_')]
        ray.init(
            include_dashboard=None if os.environ.get('RAY_ADDRESS') else False,
            log_to_driver=False,
            logging_level='warning',
            runtime_env=dict(env_vars={name: os.environ[name] for name in names}),
        )
        have = ray.cluster_resources()
        for name, wanted in (('GPU', gpus), ('CPU', cpus)):
            if have.get(name, 0) < wanted:
                raise EnvironmentProblem(
                    f'A run needs {wanted} {name}s, but the Ray cluster has {have.get(name, 0):g}.'
                )
        self.task = ray.remote(run_remotely).options(num_gpus=gpus, num_cpus=cpus, max_retries=0)

    def start(self, command: list[str], folder: Path) -> Job:
        return RayJob(self.task.remote(command, str(folder), os.getcwd()), folder)


class RayJob(ClusterJob):
    """A task of Ray."""

    def __init__(self, reference: Any, folder: Path) -> None:
        super().__init__(folder)
        self.reference = reference

    def is_alive(self) -> bool:
        import ray

        return not ray.wait([self.reference], timeout=0)[0]

    def terminate(self) -> None:
        import ray

        ray.cancel(self.reference)  # a KeyboardInterrupt in the task, which ends its process

    def join(self) -> None:
        import ray

        ray.wait([self.reference], timeout=30)

    def _result(self) -> int:
        import ray

        return ray.get(self.reference)
