"""Tell the model the epoch, the iteration and the learning rate."""

import math
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from ltmm.models.state.progress import UsesLearningRate, UsesProgress
from ltmm.registry import HOOKS
from ltmm.utils.wrappers import unwrap_model

__all__ = ['BeforeEpochHook', 'ProgressHook', 'epoch_length']


@HOOKS.register_module()
class ProgressHook(Hook):
    """Calls ``set_progress`` of all modules derived from :class:`UsesProgress`, before every epoch and iteration.

    Before every iteration it also calls ``set_learning_rate`` of the modules derived from :class:`UsesLearningRate`.
    Epoch and iteration are those of the runner, so a resumed run goes on where it stopped. A training that counts
    iterations is in epoch ``iter // epoch_length``, with :func:`epoch_length` the iterations of one pass over the
    training data. This is also how MMEngine numbers the epochs of the sampler there.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Find the modules once; there may be thousands of others."""
        modules = list(unwrap_model(runner.model).modules())
        self.modules = [module for module in modules if isinstance(module, UsesProgress)]
        self.rate_modules = [module for module in modules if isinstance(module, UsesLearningRate)]

    def before_train_epoch(self, runner: Runner) -> None:
        self._set_progress(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._set_progress(runner)
        if self.rate_modules:
            lr = largest_learning_rate(runner)
            for module in self.rate_modules:
                module.set_learning_rate(lr)

    def _set_progress(self, runner: Runner) -> None:
        if not self.modules:
            return
        epoch, max_epochs = runner.epoch, runner.max_epochs
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            epoch = runner.iter // epoch_length(runner)
            max_epochs = math.ceil(runner.max_iters / epoch_length(runner))
        for module in self.modules:
            module.set_progress(epoch, max_epochs, runner.iter, runner.max_iters)


class BeforeEpochHook(Hook):
    """Base class of hooks that act before every epoch, also where the training counts iterations.

    MMEngine calls its hooks for epochs only once there. An epoch is then :func:`epoch_length` iterations.
    """

    def before_every_epoch(self, runner: Runner, epoch: int) -> None:
        """Act before an epoch, counted from 0."""
        raise NotImplementedError(f'{type(self).__name__} must define before_every_epoch(runner, epoch).')

    def before_train_epoch(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self.before_every_epoch(runner, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            epoch, iter_of_epoch = divmod(runner.iter, epoch_length(runner))
            if iter_of_epoch == 0:
                self.before_every_epoch(runner, epoch)


def largest_learning_rate(runner: Runner) -> float:
    """Return the largest learning rate of all parameters."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return max(group['lr'] for wrapper in wrappers for group in wrapper.param_groups)


def epoch_length(runner: Runner) -> int:
    """Return the number of iterations in which the ranks together pass over the training data once."""
    loader = runner.train_dataloader
    is_infinite = isinstance(loader.sampler, InfiniteSampler)  # its length is the dataset's, not the rank's part of it
    return math.ceil(len(loader) / (get_world_size() if is_infinite else 1))
