"""Code shared by the tools: command-line arguments, config, runner."""

import argparse
import difflib
import inspect
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODEL_WRAPPERS, RUNNERS
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from .checkpoints import check_checkpoint, forbid_code, use_safe_loader
from .checks import check
from .console import import_all, quiet_imports, quiet_runner
from .environment import EnvironmentProblem, check_environment
from .errors import InputError, did_you_mean
from .references import count_classes, resolve_references
from .schedules import check_warm_up
from .trackers import TRACKERS
from .work_dir import latest_checkpoint

__all__ = [
    'build_runner',
    'common_parser',
    'load_config',
    'model_parser',
    'parse_seed',
    'parse_training_args',
    'read_config',
    'skip_broken_images',
    'use_amp',
]

PACKAGE = Path(__file__).resolve().parents[1]
KEYS = {*inspect.signature(Runner.__init__).parameters, 'model_wrapper_cfg', 'custom_imports', 'runner_type', 'compile'}


class ConfigOptions(DictAction):
    """MMEngine's action of ``--cfg-options``, with a usage error for what is not ``key=value``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError):
            parser.error(f'{option_string} takes key=value, with balanced brackets, but got {" ".join(values)}')


def common_parser(description: str, needs_config: bool = True) -> argparse.ArgumentParser:
    """Build a parser with the arguments of OpenMMLab's ``tools/train.py`` and ``tools/test.py``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', nargs=None if needs_config else '?', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints; default: ./work_dirs/<folder of the config>/<its name>'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16 on the CPU)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='override settings of the config: key=value, dots for nested keys, key="[a,b]" for lists',
    )
    parser.add_argument(
        '--skip-broken',
        type=int,
        metavar='N',
        help='skip at most N images per dataset that cannot be read; all images are loaded once to find them',
    )
    parser.add_argument('--verbose', action='store_true', help='show environment, config and hooks on the console too')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument(
        '--trust',
        action='store_true',
        help='run the code in checkpoints, .pkl and .yaml files; without it they are read as data, see SECURITY.md',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def parse_training_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add ``--seed`` and ``--tracker`` and parse the command line; both become ``cfg_options`` of the result."""
    parser.add_argument(
        '--seed', type=parse_seed, metavar='N', help='seed of the run; the same as --cfg-options randomness.seed=N'
    )
    parser.add_argument(
        '--tracker', nargs='+', choices=TRACKERS, help='log to these too; the same as trackers = [...] in the config'
    )
    args = parser.parse_args()
    for option, key, value in (('--seed', 'randomness.seed', args.seed), ('--tracker', 'trackers', args.tracker)):
        if value is not None:
            options = args.cfg_options or {}
            if key in options:
                parser.error(f'{option} and --cfg-options {key}={options[key]} set the same: give one of them')
            args.cfg_options = {**options, key: value}
    return args


def parse_seed(text: str) -> int:
    """Parse a seed of NumPy's range."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f'expected a number from 0 to 2**32 - 1, but got {text}')
    return int(text)


def model_parser(description: str) -> argparse.ArgumentParser:
    """Build a parser for a tool that uses a trained model without its data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of the training')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--device', help='such as cpu or cuda:1; default: the first GPU, or the CPU')
    parser.add_argument(
        '--size',
        type=image_size,
        metavar='HEIGHT[xWIDTH]',
        help='of the input, for data sets of arrays such as CIFAR (32): their pipeline does not resize',
    )
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, help='override settings of the config')
    parser.add_argument('--verbose', action='store_true', help='show the messages of the frameworks')
    parser.add_argument('--trust', action='store_true', help='run the code in checkpoints, see SECURITY.md')
    return parser


def image_size(text: str) -> tuple[int, int]:
    """Parse ``HEIGHT`` or ``HEIGHTxWIDTH``."""
    height, _, width = text.partition('x')
    size = int(height), int(width or height)
    check(size=(size, 'int >= 1'))
    return size


def read_config(args: argparse.Namespace) -> Config:
    """Read the config with the overrides of the command line, and check the installation."""
    forbid_code(trust=args.trust)
    config = Path(args.config)
    if not config.is_file():
        folder = config.parent if config.parent.is_dir() else config.parent.parent
        siblings = [str(path) for path in folder.glob('*' if folder == config.parent else f'*/{config.name}')]
        raise FileNotFoundError(f'There is no config {config}.{did_you_mean(str(config), siblings)}')
    if args.verbose:
        os.environ['LTMM_VERBOSE'] = '1'
    data_root = os.environ.pop('LTMM_DATA_ROOT', '')  # configs read it: an empty one counts as unset
    if data_root:
        os.environ['LTMM_DATA_ROOT'] = str(Path(data_root).expanduser())
    try:
        with quiet_imports():
            cfg = Config.fromfile(args.config)
    except ImportError:  # for example, a base in mmdet
        check_environment(detection=True)
        raise
    except FileNotFoundError as e:
        if '.mim' in str(e) and not (PACKAGE / '.mim').exists():
            raise EnvironmentProblem(
                "A base 'ltmm::...' needs ltmm to be installed: make install, or pip install -e . in the checkout."
            ) from e
        raise
    _drop_scope(cfg._cfg_dict)
    if args.cfg_options:
        _check_options(args.cfg_options, cfg)
        cfg.merge_from_dict(args.cfg_options)
    _check_keys(cfg)
    if 'model' not in cfg:
        raise InputError(f'{config} has no `model`. Is it a base? Run a config that lists its bases in `_base_`.')
    with quiet_imports():
        check_environment(detection=cfg.get('default_scope') == 'mmdet')
        import_all()
    count_classes(cfg)
    resolve_references(cfg)
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """Read the config as :func:`read_config` does, for a run: with launcher and work directory, which is checked."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        config = Path(args.config)
        folder = config.resolve().parent.name  # ce_r32.py is in several benchmarks
        cfg.work_dir = str(Path('work_dirs', folder, config.stem))
    if args.skip_broken is not None:
        skip_broken_images(cfg, args.skip_broken)
    _check_writable(Path(cfg.work_dir))
    return cfg


def skip_broken_images(cfg: Config, max_broken: int) -> None:
    """Let each dataset of a config skip at most ``max_broken`` broken images."""
    from ltmm.engine.runner.model_outputs import underlying_datasets  # needs all packages

    check(skip_broken=(max_broken, 'int >= 0'))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in underlying_datasets(cfg[name].dataset) if cfg.get(name) else ():
            dataset.update(of=dataset.type, type='ltmm.without_broken_images', max_broken=max_broken)


def build_runner(cfg: Config) -> Runner:
    """Build the runner; distributed runs on CPUs use gloo, which MMEngine's launcher does not support."""
    use_safe_loader()
    check_warm_up(cfg)
    if cfg.get('resume') and not cfg.get('load_from'):
        cfg.load_from = latest_checkpoint(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
    if cfg.get('launcher') in ('slurm', 'mpi') and not torch.cuda.is_available():
        raise EnvironmentProblem(
            f'--launcher {cfg.launcher} needs a GPU per process, but there is none. On CPUs, run '
            'tools/dist_train.sh on each machine (NNODES, NODE_RANK, MASTER_ADDR).'
        )
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available():
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')  # MMEngine keeps an existing group
        if cfg.get('model_wrapper_cfg') is None:
            cfg.model_wrapper_cfg = dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=cfg.get('find_unused_parameters', False),
            )
        wrapper_class = cfg.model_wrapper_cfg.get('type', 'MMDistributedDataParallel')
        if isinstance(wrapper_class, str):
            wrapper_class = MODEL_WRAPPERS.get(wrapper_class)
        if wrapper_class is not None and issubclass(wrapper_class, DistributedDataParallel):
            cfg.model_wrapper_cfg.device_ids = None  # MMEngine would give it a GPU
    name = cfg.get('runner_type', 'Runner')
    runner_class = RUNNERS.get(name)
    if runner_class is None:
        raise InputError(f'There is no runner called {name!r}.{did_you_mean(name, RUNNERS.module_dict)}')
    return quiet_runner(runner_class).from_cfg(cfg)


def use_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision: float16 on a GPU, bfloat16 on the CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'ltmm.CPUAmpOptimWrapper'


def _check_options(options: dict, cfg: Config) -> None:
    """Refuse an option that looks like a misspelling of a key of the config: nothing would read it."""
    known = cfg.keys() | KEYS
    for option in options:
        key = option.split('.')[0]
        similar = difflib.get_close_matches(key, sorted(known - {key}), n=1, cutoff=0.85)
        if key not in known and similar:
            raise InputError(f'--cfg-options {option}: the config has no {key!r}. Did you mean {similar[0]}?')


def _check_keys(cfg: Config) -> None:
    """Refuse a top-level key that nothing reads and that looks like a misspelling of one that MMEngine reads."""
    for key in cfg.keys() - KEYS:
        similar = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.85)
        is_variant = similar and key.rstrip('s0123456789') == similar[0]  # models, val_dataloader2
        if similar and not is_variant and not key.startswith(('_', f'{similar[0]}_')):
            raise InputError(
                f'The config has a key {key!r}, which nothing reads. Did you mean {similar[0]}? Begin the name of a '
                'variable of your own with an underscore.'
            )


def _drop_scope(value: object) -> None:
    """Remove ``_scope_='ltmm'``, which an ``'ltmm::'`` base adds and MMEngine would pass to the collate function."""
    if isinstance(value, dict):
        if value.get('_scope_') == 'ltmm':
            del value['_scope_']
        for item in value.values():
            _drop_scope(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _drop_scope(item)


def _check_writable(work_dir: Path) -> None:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir):
            pass
    except OSError as e:
        raise PermissionError(
            f'Cannot write to the work directory {work_dir} ({e.strerror}). Choose another with --work-dir.'
        ) from None
