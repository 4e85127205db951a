"""Set up .venv with the tested versions of constraints.txt; ``make install`` runs it with a bare Python >= 3.10.

``make install`` installs what users need; ``make test``, ``make lint`` and ``make docs`` add what only developers need.

Nothing is compiled by default: ltmm provides the ops of mmcv that detection needs on torchvision's kernels. With
``OPS=compiled``, mmcv is built with its own ops, once per machine; the cache LTMM_CACHE (default: ``~/.cache/ltmm``)
has one folder per combination of mmcv, torch, Python, platform and GPU.
"""

from __future__ import annotations  # so that an older Python reaches the version check

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STATE = VENV / 'ltmm-setup'  # what the environment was made from, or nothing if it is unfinished
LOG = ROOT / 'build' / 'setup.log'
CACHE = Path(os.environ.get('LTMM_CACHE') or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'ltmm')).expanduser()
CONSTRAINTS = os.environ.get('LTMM_CONSTRAINTS', 'constraints.txt')  # of other versions, relative to the checkout
INPUTS = (CONSTRAINTS, 'setup.cfg', 'setup.py', 'pyproject.toml', 'tools/setup_env.py')
PLATFORM = '_'.join([sys.implementation.cache_tag, sysconfig.get_platform(), *platform.libc_ver()])
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
GIGABYTES = dict(cpu=4, cuda=8)
# the second has all of the first
EXTRAS = dict(user='det,calibration,features,report,export,data,demo', dev='dev,docs')
MINUTES = dict(user='1 minute', dev='3 minutes')
STEPS = 5


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 (this is the check)
        sys.exit(f'ltmm needs Python >= 3.10, but {sys.executable} is {platform.python_version()}: use make PYTHON=...')
    old = read_state()
    args = parse_args(old)
    new = dict(place=f'{ROOT} Python {platform.python_version()}', digest=digest_of_inputs(), **vars(args))
    if new == old and PYTHON.exists():
        return
    check_machine(args)
    start = time.monotonic()
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_bytes(b'')
    duration = '2 minutes' if args.ops == 'torchvision' else '9 minutes the first time on a machine, 2 after that,'
    print(f'Setting up {VENV}: about {duration} on 2 idle cores, without the download of torch. Log: {LOG}')
    if not PYTHON.exists() or any(new[key] != old.get(key) for key in ('place', 'torch')):
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
    STATE.write_text('')

    if not PYTHON.exists() or any(new[key] != old.get(key) for key in ('digest', 'ops')):
        install_base(args)
    else:
        print('[1-3/5] as they are')
    with step(4, f'MMEngine, mmpretrain, mmdet and ltmm with {EXTRAS[args.level]}, {MINUTES[args.level]}'):
        # compat: by its path, or a clone that is called ltmm hides the package from its parent folder
        compat = ('--config-settings', 'editable_mode=compat')
        pip('install', '--no-build-isolation', *compat, '--editable', f'.[{EXTRAS[args.level]}]')
        if subprocess.run([PYTHON, '-c', 'import cv2'], capture_output=True).returncode:
            # two opencv packages share one folder; without libGL the headless one has to be the last
            pip('install', '--force-reinstall', '--no-deps', 'opencv-python-headless')
    with step(5, 'import everything, seconds'):
        run(PYTHON, '-c', 'from ltmm.utils.environment import check_environment; check_environment(detection=True)')
    STATE.write_text(json.dumps(new))
    print(f'Ready in {elapsed(start)}. Use .venv/bin/python, or: . .venv/bin/activate')


def install_base(args: argparse.Namespace) -> None:
    """Make the environment, and install torch and mmcv."""
    with step(1, 'virtual environment and build tools, seconds'):
        run(sys.executable, '-m', 'venv', VENV)
        pip('install', 'setuptools', 'wheel', 'packaging')
    index = cpu_index() if args.torch == 'cpu' else ()
    size = "CPU build, 1 GB (TORCH=cuda for PyPI's)" if index else '1 to 2 minutes, 5 GB'
    with step(2, f'torch and torchvision, {size}'):
        pip('install', *index, 'torch', 'torchvision')
    install_mmcv(compiled=args.ops == 'compiled')


def read_state() -> dict[str, str]:
    """Return what the environment was made from; nothing if it is unfinished or of an older version of this file."""
    try:
        return json.loads(STATE.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def parse_args(old: dict[str, str]) -> argparse.Namespace:
    """Read the command line; an option that is not given stays as it is in the environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--ops',
        choices=['torchvision', 'compiled'],
        default=old.get('ops', 'torchvision'),
        help="kernels of mmcv's ops: those of torchvision, or mmcv's own, which takes a compiler and minutes",
    )
    parser.add_argument(
        '--torch',
        choices=['cpu', 'cuda'],
        default=old.get('torch', 'cuda' if has_nvidia_gpu() else 'cpu'),
        help="build of torch: PyTorch's small one for CPUs, where it can be had, or that of PyPI",
    )
    parser.add_argument(
        '--level',
        choices=EXTRAS,
        default=old.get('level', 'user'),
        help='what users need, or also what the tests, the style checks and the docs need',
    )
    return parser.parse_args()


def has_nvidia_gpu() -> bool:
    return Path('/proc/driver/nvidia/version').exists() or shutil.which('nvidia-smi') is not None


def digest_of_inputs() -> str:
    return hashlib.sha256(b''.join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()


def check_machine(args: argparse.Namespace) -> None:
    """Exit with one line if something is missing that pip cannot install."""
    if VENV.exists() and not STATE.exists():
        sys.exit(f'{VENV} exists, but `make install` did not make it: move it away and try again.')
    if importlib.util.find_spec('ensurepip') is None:
        sys.exit("Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv")
    free, needed = shutil.disk_usage(ROOT).free / 1e9, GIGABYTES[args.torch]
    if not VENV.exists() and free < needed:
        sys.exit(f'{ROOT} has {free:.1f} GB of free disk space, and {needed} GB are needed.')
    if args.ops == 'torchvision' or any(CACHE.glob(f'{ops_name(tested("torch") + "*", "*")}/*.whl')):
        return
    if shutil.which(os.environ.get('CXX', 'g++')) is None:
        sys.exit('g++ is missing; it builds the compiled ops of mmcv. On Debian and Ubuntu: apt install g++')
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        sys.exit("Python's headers (Python.h) are missing. On Debian and Ubuntu: apt install python3-dev")


def cpu_index() -> tuple[str, ...]:
    """Return the pip options for PyTorch's CPU builds; none if the tested versions cannot be had there."""
    tag = rf'-{sys.implementation.cache_tag.replace("cpython-", "cp")}-\S+_{platform.machine()}\.whl'
    try:
        for package in ('torch', 'torchvision'):
            with urllib.request.urlopen(f'{CPU_INDEX}/{package}/', timeout=10) as page:
                if not re.search(rf'{package}-{re.escape(tested(package))}(\+|%2B)cpu{tag}', page.read().decode()):
                    return ()
    except OSError:
        return ()
    return '--extra-index-url', CPU_INDEX


def install_mmcv(compiled: bool) -> None:
    """Install mmcv, with or without compiled ops, in place of the other one."""
    if compiled:
        pip('install', 'ninja', 'psutil')
        wheel = mmcv_wheel()
        pip('install', '--force-reinstall', '--no-deps', wheel)
    else:
        with step(3, 'mmcv without compiled ops, seconds'):
            # pip builds it apart from the environment: without torch in sight, mmcv's setup.py compiles nothing
            pip('install', '--force-reinstall', '--no-deps', '--no-cache-dir', 'onedl-mmcv')


def mmcv_wheel() -> Path:
    """Return the wheel of mmcv with compiled ops from the cache; build it if it is missing."""
    torch, device = torch_and_device()
    folder = CACHE / ops_name(torch, device)
    for wheel in folder.glob('*.whl'):
        with step(3, f'compiled ops of mmcv, found in {folder}'):
            return wheel
    jobs = max(1, min(len(os.sched_getaffinity(0)), memory_in_gigabytes() // 2))
    env = dict(CFLAGS='-g0', MMCV_WITH_OPS='1', MAX_JOBS=str(jobs))
    if device == 'cpu':
        env['CUDA_VISIBLE_DEVICES'] = ''  # mmcv looks for nvcc if it sees a GPU
    folder.mkdir(parents=True, exist_ok=True)
    duration = '4 to 7 minutes on 2 idle cores' if device == 'cpu' else '10 minutes on 16 idle cores'
    with step(3, f'compiled ops of mmcv ({device}), once for this machine, {duration}, {jobs} jobs at a time'):
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            pip('wheel', '--no-build-isolation', '--no-deps', '--no-cache-dir', '-w', unfinished, 'onedl-mmcv', **env)
            (wheel,) = Path(unfinished).glob('*.whl')
            return wheel.replace(folder / wheel.name)  # atomic


def torch_and_device() -> tuple[str, str]:
    """Return the installed version of torch and the target of mmcv's ops: 'cpu', or CUDA version and GPU architecture.

    Without the CUDA toolkit, the target is 'cpu' even if there is a GPU.
    """
    code = (
        'import os, torch; from torch.utils.cpp_extension import CUDA_HOME; print(torch.__version__);'
        'cuda = torch.cuda.is_available() and CUDA_HOME and os.path.exists(os.path.join(CUDA_HOME, "bin", "nvcc"));'
        'print("cu{}_sm{}{}".format(torch.version.cuda, *torch.cuda.get_device_capability()) if cuda else "cpu")'
    )
    result = subprocess.run([PYTHON, '-c', code], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f'Set-up stopped: torch cannot be imported.\n{result.stderr}')
    torch, device = result.stdout.split()
    return torch, device


def ops_name(torch: str, device: str) -> str:
    """Return the name of the cache folder for a version of torch and a target of :func:`torch_and_device`."""
    return f'mmcv{tested("onedl-mmcv")}_torch{torch}_{PLATFORM}_{device}'


def tested(package: str) -> str:
    """Return the version of a package in the constraints."""
    return re.search(rf'^{package}==([^\s;]+)', (ROOT / CONSTRAINTS).read_text(), re.MULTILINE).group(1)


def memory_in_gigabytes() -> int:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 10**9


@contextmanager
def step(number: int, what: str) -> Iterator[None]:
    """Print the step with its expected duration, then the time it took."""
    start = time.monotonic()
    print(f'[{number}/{STEPS}] {what} ...', flush=True)
    yield
    print(f'      done in {elapsed(start)}', flush=True)


def elapsed(start: float) -> str:
    return '{} min {} s'.format(*divmod(round(time.monotonic() - start), 60))


def pip(command: str, *args: str | Path, **env: str) -> None:
    """Run a pip command in the environment, with the tested versions."""
    run(PYTHON, '-m', 'pip', command, '--no-input', '-c', ROOT / CONSTRAINTS, *args, **env)


def run(*command: str | Path, **env: str) -> None:
    """Run a command with its output in the log; report every minute, and exit if it fails."""
    start = time.monotonic()
    env = {**os.environ, **env}
    env.pop('PYTHONPATH', None)
    with LOG.open('ab') as log:
        log.write(f'$ {" ".join(map(str, command))}\n'.encode())
        log.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=env)
        while True:
            try:
                code = process.wait(timeout=60)
                break
            except subprocess.TimeoutExpired:
                print(f'      {elapsed(start)} so far', flush=True)
    if code:
        print('\n'.join(LOG.read_text(errors='replace').splitlines()[-30:]), flush=True)
        sys.exit(f'Set-up stopped: a command failed after {elapsed(start)} (last lines above, all in {LOG}).')


if __name__ == '__main__':
    main()
