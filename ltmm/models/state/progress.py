"""The progress of the training: epoch, iteration, learning rate."""

import logging

from mmengine.logging import print_log

from ltmm.utils.errors import MissingInputError

__all__ = ['UsesLearningRate', 'UsesProgress']


class UsesProgress:
    """Mixin for modules that depend on the epoch or the iteration.

    :class:`ltmm.engine.ProgressHook` sets them before every epoch and iteration, also after a resume: they are no
    state of the module. In a training loop of your own, call :meth:`set_progress`.
    """

    _progress: dict[str, int | None] = {}

    def set_progress(self, epoch: int, max_epochs: int, iter: int | None = None, max_iters: int | None = None) -> None:
        """Set where the training stands; at the first time, warn of one that is too short for the module.

        Args:
            epoch: Current epoch, from 0. A training that counts iterations counts passes over its data.
            max_epochs: Epochs of the whole training.
            iter: Current iteration of the whole training, from 0.
            max_iters: Iterations of the whole training.
        """
        if not self._progress and (problem := self.too_short(max_epochs)):
            print_log(f'{type(self).__name__} {problem}', logger='current', level=logging.WARNING)
        self._progress = dict(epoch=epoch, max_epochs=max_epochs, iter=iter, max_iters=max_iters)

    def too_short(self, max_epochs: int) -> str | None:
        """Say what the module never does in so many epochs; None if it does something, as by default."""

    @property
    def epoch(self) -> int:
        """Current epoch, from 0."""
        return self._get('epoch')

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole training."""
        return self._get('max_epochs')

    @property
    def iter(self) -> int:
        """Current iteration, from 0."""
        return self._get('iter')

    @property
    def max_iters(self) -> int:
        """Iterations of the whole training."""
        return self._get('max_iters')

    def __dir__(self) -> list[str]:
        """Leave out what is not set: torch.jit.trace reads all that is listed."""
        properties = {name for name, value in vars(UsesProgress).items() if isinstance(value, property)}
        unset = {name for name in properties if self._progress.get(name) is None}
        return [name for name in super().__dir__() if name not in unset]

    def _get(self, name: str) -> int:
        if self._progress.get(name) is None:
            raise MissingInputError(
                f"{type(self).__name__} depends on the training's progress, but `{name}` is not set. Add "
                "dict(type='ltmm.ProgressHook') to custom_hooks, as ltmm's default_runtime.py does, or call "
                'set_progress(epoch, max_epochs, iter, max_iters) before every iteration.'
            )
        return self._progress[name]


class UsesLearningRate:
    """Mixin for modules that depend on the learning rate.

    :class:`ltmm.engine.ProgressHook` sets it before every iteration, also after a resume. In a training loop of your
    own, call :meth:`set_learning_rate`.
    """

    _learning_rate: float | None = None

    def set_learning_rate(self, lr: float) -> None:
        """Set the largest learning rate of all parameters."""
        self._learning_rate = lr

    def get_learning_rate(self) -> float:
        """Return the largest learning rate of all parameters."""
        if self._learning_rate is None:
            raise MissingInputError(
                f'{type(self).__name__} depends on the learning rate, which is not set. Add '
                "dict(type='ltmm.ProgressHook') to custom_hooks, as ltmm's default_runtime.py does, or call "
                'set_learning_rate(lr) before every iteration.'
            )
        return self._learning_rate
