"""Checks of learning rate schedules and of the length of a training."""

from mmengine.config import Config

from .errors import InputError

__all__ = ['check_warm_up', 'may_stop_early']


def check_warm_up(cfg: Config) -> None:
    """Refuse a linear warm-up of a single step, and a schedule after it that begins at the end of the training.

    MMEngine's warm-up would leave the rate at its start factor for good; the schedule after it would end in an
    assertion.
    """
    schedulers = cfg.get('param_scheduler') or []
    max_epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        begin = scheduler.get('begin', 0)
        is_by_epoch = scheduler.get('by_epoch', True) and 'end' not in scheduler
        if begin and is_by_epoch and max_epochs is not None and begin >= max_epochs:
            raise InputError(
                f'param_scheduler: {scheduler.get("type")} begins at epoch {begin}, but the training '
                f'has {max_epochs}. Train for at least {begin + 1} epochs, or set param_scheduler=None.'
            )
        if scheduler.get('type') != 'LinearLR' or scheduler.get('convert_to_iter_based'):
            continue
        start = scheduler.get('start_factor', 1 / 3)
        if scheduler.get('end') == begin + 1 and start != scheduler.get('end_factor', 1):
            raise InputError(
                f'param_scheduler: LinearLR with begin={begin}, end={begin + 1} is a single step, after which the rate '
                f'stays at start_factor={start:g}. Set end={begin + 2} or more, or convert_to_iter_based=True.'
            )


def may_stop_early(cfg: Config) -> bool:
    """Whether a hook may end the training before its length."""
    return any(str(hook['type']).endswith('EarlyStoppingHook') for hook in cfg.get('custom_hooks') or ())
