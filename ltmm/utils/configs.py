"""Config files as the tools read them: with the overrides of the command line, checked and completed."""

import argparse
import difflib
import inspect
import os
import re
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from .checkpoints import forbid_code
from .checks import check
from .console import import_all, quiet_imports
from .environment import EnvironmentProblem, check_environment
from .errors import InputError, did_you_mean
from .references import count_classes, referenced_names, resolve_references

__all__ = ['load_config', 'read_config', 'skip_broken_images', 'use_amp']

PACKAGE = Path(__file__).resolve().parents[1]
KEYS = {  # that MMEngine or ltmm reads
    *inspect.signature(Runner.__init__).parameters,
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'detect_anomalous_params',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'init_weights_for_test_or_val',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'trackers',
}
# what a value may be that a config refers to as '${name}': where it ends up, an error would not name it
VALUES = dict(
    batch_size='int >= 1',
    image_scale='int >= 1',
    image_size='int >= 1',
    lr='> 0',
    max_epochs='int >= 1',
    num_classes='int >= 1',
    num_workers='int >= 0',
    patience='int >= 1',
    queue_size='int >= 1',
)


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
    _check_values(cfg)
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


def use_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision: float16 on a GPU, bfloat16 on the CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'ltmm.CPUAmpOptimWrapper'


def _check_options(options: dict, cfg: Config) -> None:
    """Refuse an option whose key stands nowhere in the config: nothing would read it."""
    known = cfg.keys() | KEYS | referenced_names(cfg)
    for option in options:
        key = option.split('.')[0]
        of_a_stage = 'stages' in cfg and re.fullmatch(r'stage\d+', key)
        if key not in known and not of_a_stage:
            similar = did_you_mean(key, difflib.get_close_matches(key, sorted(known), n=1))
            remedy = similar or ' Nothing would read it. Write it with all its keys, such as train_cfg.max_epochs.'
            raise InputError(f'--cfg-options {option}: the config has no {key!r}.{remedy}')


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


def _check_values(cfg: Config) -> None:
    check(**{name: (cfg[name], VALUES[name]) for name in VALUES.keys() & referenced_names(cfg) if name in cfg})


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
