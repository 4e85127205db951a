"""Experiment trackers of a training: visualization backends of MMEngine under short names."""

import os
from pathlib import Path

from mmengine.config import Config

from .environment import check_extra
from .errors import InputError, did_you_mean

__all__ = ['TRACKERS', 'use_trackers']

TRACKERS = dict(tensorboard='TensorboardVisBackend', mlflow='MLflowVisBackend', wandb='WandbVisBackend')
"""Name of the package and of its visualization backend in MMEngine."""


def use_trackers(cfg: Config) -> None:
    """Add the visualization backends of ``trackers = ['tensorboard', ...]`` in a config, and the hook that they need.

    The hook, :class:`ltmm.engine.hooks.TrackingHook`, is added for backends in ``visualizer.vis_backends`` too.
    MLflow's experiment and W&B's project get the name of the folder of the config, unless MLFLOW_EXPERIMENT_NAME or
    WANDB_PROJECT is set; the run is called ``<config>_seed<seed>``.
    """
    names = cfg.get('trackers') or []
    is_list = isinstance(names, (list, tuple))
    for name in names if is_list else [names]:
        if not is_list or name not in TRACKERS:
            raise InputError(
                f'Expected `trackers` to be a list of {", ".join(TRACKERS)}, but got {names!r}.'
                f'{did_you_mean(str(name), TRACKERS)}'
            )
    visualizer = dict(cfg.get('visualizer') or dict(type='Visualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    given = [_type_name(backend) for backend in backends]
    backends += [_backend(name, cfg) for name in dict.fromkeys(names) if TRACKERS[name] not in given]
    used = [name for name, backend in TRACKERS.items() if name in names or backend in given]
    if not used:
        return
    check_extra('tracking', *used)
    cfg.visualizer = dict(visualizer, vis_backends=backends)
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(_type_name(hook) == 'TrackingHook' for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='ltmm.TrackingHook')]


def _type_name(cfg: dict) -> str:
    kind = cfg['type']
    return kind.__name__ if isinstance(kind, type) else kind.split('.')[-1]


def _backend(name: str, cfg: Config) -> dict:
    config = Path(cfg.filename or cfg.work_dir).resolve()
    seed = (cfg.get('randomness') or {}).get('seed')
    folder, run = config.parent.name, config.stem + ('' if seed is None else f'_seed{seed}')
    if name == 'mlflow':
        return dict(
            type='ltmm.MLflowVisBackend', exp_name=os.environ.get('MLFLOW_EXPERIMENT_NAME', folder), run_name=run
        )
    if name == 'wandb':
        return dict(type=TRACKERS[name], init_kwargs=dict(project=os.environ.get('WANDB_PROJECT', folder), name=run))
    return dict(type=TRACKERS[name])
