"""What ``tools/train.py`` and ``tools/test.py`` share: arguments, config, distributed start, runner."""

import argparse
import os
import re
import tempfile
import zipfile
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .environment import EnvironmentProblem, check_environment
from .errors import InputError, near_names

__all__ = ['build_runner', 'check_checkpoint', 'common_parser', 'latest_checkpoint', 'load_config', 'use_amp']

PACKAGE = Path(__file__).resolve().parents[1]


def common_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that training and test have in common in the OpenMMLab family."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder of logs and checkpoints; ./work_dirs/<folder of the config>/<its name> by default'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config: key=value, nested by dots; lists as key="[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """The config of the command line, checked against what is installed and writable.

    Raises:
        FileNotFoundError: no such config file.
        EnvironmentProblem: a package the config needs is missing or does not fit; the message has the remedy.
        InputError: a config without a model.
        PermissionError: the work directory cannot be written.
    """
    config = Path(args.config)
    if not config.is_file():
        folder = config.parent if config.parent.is_dir() else config.parent.parent
        siblings = [str(path) for path in folder.glob('*' if folder == config.parent else f'*/{config.name}')]
        raise FileNotFoundError(f'There is no config {config}.{near_names(str(config), siblings)}')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    _prepare_data_root()
    try:
        cfg = Config.fromfile(args.config)
    except ImportError:  # a base in mmdet, say
        check_environment(detection=True)
        raise
    except FileNotFoundError as e:
        if '.mim' in str(e) and not (PACKAGE / '.mim').exists():
            raise EnvironmentProblem(
                "A base 'ltmm::...' needs ltmm to be installed: make install, or pip install -e . in the checkout."
            ) from e
        raise
    _drop_scope(cfg._cfg_dict)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if 'model' not in cfg:
        raise InputError(f'{config} has no `model`. A config that is run has its bases in `_base_`, see configs/.')
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        folder = config.resolve().parent.name  # ce_r32.py is in several benchmarks
        cfg.work_dir = str(Path('work_dirs', folder, config.stem))
    check_environment(detection=cfg.get('default_scope') == 'mmdet')
    _check_writable(Path(cfg.work_dir))
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner of a config; on a machine without a GPU, several processes talk through gloo."""
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
    if cfg.get('launcher') in ('slurm', 'mpi') and not torch.cuda.is_available():
        raise EnvironmentProblem(
            f'--launcher {cfg.launcher} needs a GPU in each process, but there is none. Without one, use '
            'tools/dist_train.sh on each machine (NNODES, NODE_RANK, MASTER_ADDR).'
        )
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available():
        # MMEngine's launcher asks for CUDA; with a process group already there it takes that one
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def use_amp(cfg: Config) -> None:
    """Let a config train in automatic mixed precision: float16 on a GPU, bfloat16 on the CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'ltmm.CPUAmpOptimWrapper'


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint to resume from: what ``last_checkpoint`` names, or else the one of the highest epoch or iteration.

    A process that is killed while it writes ``last_checkpoint`` leaves that file empty, beside whole checkpoints.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    named = pointer.read_text().strip() if pointer.is_file() else ''
    if named and Path(named).is_file():
        return named
    numbered = {
        int(match[1]): path
        for path in Path(work_dir).glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name))
    }
    return str(numbered[max(numbered)]) if numbered else None


def check_checkpoint(path: str | Path) -> None:
    """Refuse a file that was not written to its end, before anything long is begun.

    Raises:
        InputError: the file is truncated, or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():  # a URL, or torch says so
        return
    with path.open('rb') as file:
        start = file.read(2)
    if (start == b'PK' and zipfile.is_zipfile(path)) or start[:1] == b'\x80':  # torch's format of today, and the old
        return
    raise InputError(f'{path} is truncated, or no checkpoint of torch.save ({path.stat().st_size:,} bytes).')


def _drop_scope(value: object) -> None:
    """Take the scope ``'ltmm'`` out of what an ``'ltmm::'`` base brought; MMEngine hands it on to collate functions."""
    if isinstance(value, dict):
        if value.get('_scope_') == 'ltmm':
            del value['_scope_']
        for item in value.values():
            _drop_scope(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _drop_scope(item)


def _prepare_data_root() -> None:
    """Let an empty LTMM_DATA_ROOT count as none, and one with ``~`` as the home folder, in configs too."""
    root = os.environ.pop('LTMM_DATA_ROOT', '')
    if root:
        os.environ['LTMM_DATA_ROOT'] = str(Path(root).expanduser())


def _check_writable(work_dir: Path) -> None:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as e:
        raise PermissionError(
            f'Cannot write to the work directory {work_dir} ({e.strerror}). Choose another with --work-dir.'
        ) from None
