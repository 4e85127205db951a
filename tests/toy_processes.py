"""Processes of their own for the tools: forked from one that has imported the frameworks, which takes seconds."""

import functools
import multiprocessing
import multiprocessing.connection
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from ltmm.registry import ALL_PACKAGES

ROOT = Path(__file__).parents[1]


def run_program(*args, **env) -> subprocess.CompletedProcess:
    """``python ARGS`` (or ``bash ARGS`` for a script) from the root of the checkout, with the toys importable."""
    program = 'bash' if str(args[0]).endswith('.sh') else sys.executable
    env = {**_environment(env), 'PYTHON': sys.executable}
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True, cwd=ROOT, env=env)


def run_tool(*args, **env) -> subprocess.CompletedProcess:
    """As :func:`run_program` for ``python SCRIPT ARGS``, without the seconds of the imports."""
    return _run([_environment(env)], args)


def run_on_two_ranks(*args, **env) -> subprocess.CompletedProcess:
    """As ``torchrun --nproc_per_node=2 SCRIPT ARGS``."""
    meeting = dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    ranks = [dict(meeting, RANK=rank, LOCAL_RANK=rank, **env) for rank in '01']
    return _run([_environment(rank) for rank in ranks], [*args, '--launcher', 'pytorch'])


def free_port() -> str:
    """A port for processes that talk to each other."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def _environment(env: dict) -> dict:
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    return {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', **env}


@functools.cache
def _server() -> BaseContext:
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(ALL_PACKAGES)
    return context


def _run(environments: Sequence[dict], args: Sequence) -> subprocess.CompletedProcess:
    args = [str(arg) for arg in args]
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, str(rank)) for rank in range(len(environments))]
        for path in folders:
            path.mkdir()
        processes = [
            _server().Process(target=_script, args=(args, env, path)) for env, path in zip(environments, folders)
        ]
        for process in processes:
            process.start()
        code = _wait(processes)
        stdout, stderr = (''.join((path / name).read_text() for path in folders) for name in ('stdout', 'stderr'))
    return subprocess.CompletedProcess(args, code, stdout, stderr)


def _wait(processes: list[BaseProcess]) -> int:
    """Wait for all; after a failure, which others would wait for, end them. Return the first bad exit status."""
    code = 0
    while processes:
        multiprocessing.connection.wait([process.sentinel for process in processes])
        for process in [process for process in processes if process.exitcode is not None]:
            processes.remove(process)
            if process.exitcode and not code:
                code = process.exitcode
                for other in processes:
                    other.kill()
    return code


def _script(args: list[str], env: dict, folder: Path) -> None:
    """Do what ``python ARGS`` does, in this process."""
    import torch

    for number, name in ((1, 'stdout'), (2, 'stderr')):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    torch.set_num_threads(1)
    sys.argv = args
    sys.path[:0] = [str(Path(args[0]).resolve().parent), *env['PYTHONPATH'].split(os.pathsep)]
    runpy.run_path(args[0], run_name='__main__')
