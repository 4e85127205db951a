"""The runner of a config, on GPUs or CPUs, in one process or several."""

import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS, RUNNERS
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from .checkpoints import check_checkpoint, use_safe_loader
from .console import quiet_runner
from .environment import EnvironmentProblem
from .errors import InputError, did_you_mean
from .schedules import check_warm_up
from .work_dir import latest_checkpoint

__all__ = ['build_runner']


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
