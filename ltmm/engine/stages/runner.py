"""Run the stages of a config one after another."""

import argparse
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from ltmm.registry import STAGES
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.checkpoints import check_checkpoint
from ltmm.utils.checks import check
from ltmm.utils.configs import load_config, use_amp
from ltmm.utils.errors import InputError, did_you_mean

from .base import Stage
from .pretrain_stage import PretrainStage

__all__ = ['check_needs_no_stage', 'first_to_run', 'link_result', 'read_stages', 'run_stages']

REFERENCE = 'stage://'  # with the name of a stage: its result


def read_stages(args: argparse.Namespace) -> list[Stage]:
    """Build the stages that a config lists in ``stages``.

    Args:
        args: Command line, see :func:`ltmm.utils.parsers.common_parser`. Overrides that begin with ``stage1.``,
            ``stage2.`` ... apply to the config of that stage and to the stages that take over its config, those that
            begin with ``stages.0.``, ``stages.1.`` ... to the settings of a stage, all others to all configs.
    """
    last = load_config(args)
    items = last.to_dict().get('stages')
    if not items or any(isinstance(item, str) for item in items):
        raise InputError(
            f"Expected {args.config} to have stages = [dict(type='ltmm.TrainStage', config=...), ...]. "
            'Train a config without stages with tools/train.py.'
        )
    shared, own = _split_options(args.cfg_options or {}, len(items))
    stages: list[Stage] = []
    config, options = None, shared
    for number, (item, own_options) in enumerate(zip(items, own), 1):
        type_name = item.pop('type', None)
        stage_type = type_name and STAGES.get(type_name)
        if not stage_type:
            names = [f'ltmm.{name}' for name in STAGES.module_dict]
            raise InputError(f'There is no stage type={type_name!r}.{did_you_mean(str(type_name), names)}')
        takes_over = 'config' not in item and stage_type.default_config == 'previous'
        if takes_over and config is None:
            raise InputError(f'{stage_type.__name__} needs a `config` or a stage before it.')
        config = config if takes_over else item.pop('config', args.config)
        options = {**(options if takes_over else shared), **own_options}
        name = item.pop('name', _default_name(stage_type, config))
        check(name=(name, 'a file name'))
        folder = Path(last.work_dir, f'stage{number}_{name}')
        stage_args = dict(config=str(config), work_dir=str(folder), cfg_options=options)
        try:
            cfg = load_config(argparse.Namespace(**{**vars(args), **stage_args}))
        except InputError as e:
            is_shared = any(key in str(e) for key in shared)
            hint = ' For one stage only: --cfg-options stage1.KEY=VALUE, stage2.KEY=VALUE ...' if is_shared else ''
            raise InputError(f'Stage {number}, {config}: {e}{hint}') from e
        cfg.pop('stages', None)
        if args.amp and cfg.get('optim_wrapper'):
            use_amp(cfg)
        if stages:
            stages[-1].prepare_next(cfg)
        stage = stage_type(cfg=cfg, folder=folder, name=name, **item)
        earlier = [stage.name for stage in stages]
        for reference in _references([stage.settings(), cfg._cfg_dict]):
            if reference not in earlier:
                raise InputError(f'{folder.name}: no earlier stage has the name {reference}, only {earlier}.')
        stages.append(stage)
    return stages


def check_needs_no_stage(cfg: Config) -> None:
    """Refuse to train a config on its own that refers to the result of a stage, or that is to be pre-trained."""
    own = {key: value for key, value in cfg._cfg_dict.items() if key != 'stages'}
    for name in _references(own):
        raise InputError(
            f'{cfg.filename} needs {REFERENCE}{name}, the result of an earlier stage: run tools/train_stages.py on the '
            'config that lists the stages.'
        )
    for before, item in itertools.pairwise(cfg.get('stages') or ()):
        type_name = before.get('type') if isinstance(before, dict) and 'config' not in item else None
        pretrains = type_name and issubclass(STAGES.get(type_name) or Stage, PretrainStage)
        if pretrains and not _loads_weights(cfg):
            raise InputError(
                f'{cfg.filename} starts from a backbone that another stage trains: run tools/train_stages.py, or start '
                'from a checkpoint with --cfg-options load_from=CHECKPOINT.'
            )


def _loads_weights(cfg: Config) -> bool:
    init = cfg.model.get('backbone', {}).get('init_cfg')
    return bool(cfg.get('load_from')) or (isinstance(init, dict) and init.get('type') == 'Pretrained')


def first_to_run(stages: Sequence[Stage], first_checkpoint: Path | None = None) -> int:
    """Return the index of the stage to continue with: the one that was interrupted, or the first not yet started.

    Args:
        stages: See :func:`read_stages`.
        first_checkpoint: Result of the first stage, if it is not to be run.
    """
    if first_checkpoint is not None:
        if not first_checkpoint.is_file():
            raise FileNotFoundError(f'The checkpoint of the first stage {first_checkpoint} does not exist.')
        check_checkpoint(first_checkpoint)
    for number in reversed(range(len(stages))):
        if number == 0 and first_checkpoint is not None:
            return 1
        is_complete = stages[number].is_complete
        if is_complete or stages[number].latest_checkpoint is not None:
            for stage in stages[: number + 1]:
                stage.check_same_config()
            return number + is_complete
    return 0


def run_stages(stages: Sequence[Stage], start: int, first_checkpoint: Path | None = None) -> Path | None:
    """Run the stages from ``start`` on and return the last checkpoint.

    Args:
        stages: See :func:`read_stages`.
        start: See :func:`first_to_run`.
        first_checkpoint: Result of the first stage, if it is not to be run.
    """
    checkpoint, results = None, {}
    for number, stage in enumerate(stages):
        given = first_checkpoint if number == 0 else None
        if number < start:
            stage.log(f'found {given or stage.result}')
        else:
            stage.write_record()
            with_results(stage, results).run(checkpoint)
            barrier()
            if not stage.is_complete:
                raise InputError(f'{type(stage).__name__}.run did not write {stage.result}.')
        results[stage.name] = given or stage.result
        following = stage.next_checkpoint(checkpoint)
        checkpoint = given if given and following == stage.result else following
    return checkpoint


def link_result(checkpoint: Path, work_dir: Path) -> None:
    """Link the last checkpoint into ``work_dir``, where that of a single training would be."""
    if is_main_process():
        link = work_dir / checkpoint.name
        link.unlink(missing_ok=True)
        os.symlink(os.path.relpath(checkpoint, work_dir), link)
        AtomicLocalBackend().put_text(str(link), work_dir / 'last_checkpoint')


def with_results(stage: Stage, results: Mapping[str, Path]) -> Stage:
    """Return a copy of a stage with paths for all ``stage://NAME`` in its settings and config."""
    cfg = Config(_resolve(stage.cfg._cfg_dict, results), filename=stage.cfg.filename)
    return replace(stage, cfg=cfg, **_resolve(stage.settings(), results))


def _resolve(value: Any, results: Mapping[str, Path]) -> Any:
    if isinstance(value, Mapping):
        return type(value)({key: _resolve(item, results) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item, results) for item in value)
    if not isinstance(value, str) or not value.startswith(REFERENCE):
        return value
    path = results[value.removeprefix(REFERENCE)]
    if not path.exists():
        raise FileNotFoundError(
            f'{path} is gone, but a later stage needs it. Restore it, or choose another --work-dir to run all stages '
            'again.'
        )
    return str(path)


def _references(value: Any) -> Iterator[str]:
    """Names of the stages that a value refers to."""
    if isinstance(value, str) and value.startswith(REFERENCE):
        yield value.removeprefix(REFERENCE)
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _references(item)


def _split_options(options: Mapping[str, Any], num_stages: int) -> tuple[dict, list[dict]]:
    """Overrides of all configs, and of the config of each stage."""
    shared, own = {}, [{} for _ in range(num_stages)]
    for key, value in options.items():
        match = re.match(r'stage(\d+)\.', key)
        if match and not 1 <= int(match[1]) <= num_stages:
            raise InputError(f'Expected an override of stage1 to stage{num_stages}, but got {key!r}.')
        if match:
            own[int(match[1]) - 1][key[match.end() :]] = value
        elif not key.startswith('stages.'):
            shared[key] = value
    return shared, own


def _default_name(stage_type: type[Stage], config: str) -> str:
    if stage_type.default_config == 'own':
        return Path(config).stem
    return re.sub(r'(?<!^)(?=[A-Z])', '_', stage_type.__name__.removesuffix('Stage')).lower()
