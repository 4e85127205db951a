"""Tells the parts of a model that change with the epoch which one it is."""

import inspect
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from ltmm.registry import HOOKS
from ltmm.utils.wrappers import unwrapped

__all__ = ['EpochHook']


@HOOKS.register_module()
class EpochHook(Hook):
    """Calls ``set_epoch(epoch, max_epochs)`` of every module of the model that has it, before each training epoch.

    The epoch, counted from 0, is that of the runner: a resumed run goes on where it was. Modules whose ``set_epoch``
    takes the epoch alone, as those of mmdet's SetEpochInfoHook, are left to that hook. Samplers are told by MMEngine.

    Raises:
        ValueError: the model depends on the epoch, but the training counts iterations.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Refuse a training without epochs."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        for module in epoch_aware_modules(runner.model):
            raise ValueError(
                f'{type(module).__name__} depends on the epoch, but the training counts iterations. '
                'Use train_cfg=dict(by_epoch=True, max_epochs=...).'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the epoch."""
        for module in epoch_aware_modules(runner.model):
            module.set_epoch(runner.epoch, runner.max_epochs)


def epoch_aware_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of ``model`` with a method ``set_epoch(epoch, max_epochs)``."""
    for module in unwrapped(model).modules():
        set_epoch = getattr(module, 'set_epoch', None)
        if set_epoch is not None and 'max_epochs' in inspect.signature(set_epoch).parameters:
            yield module
