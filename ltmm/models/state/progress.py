"""How a model knows the epoch: ``ltmm.EpochHook`` tells every module that has ``set_epoch``."""

__all__ = ['UsesEpoch']


class UsesEpoch:
    """Mixin of an ``nn.Module`` whose behaviour depends on the epoch.

    The epoch is no state of the module: :class:`ltmm.engine.EpochHook` brings it before each training epoch, after a
    resume too.
    """

    _epoch: tuple[int, int] | None = None

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Move on to ``epoch``.

        Args:
            epoch: counted from 0.
            max_epochs: epochs of the whole training.
        """
        self._epoch = epoch, max_epochs

    @property
    def epoch(self) -> int:
        """The present epoch, counted from 0.

        Raises:
            RuntimeError: nobody has told it; the message says who should.
        """
        return self._told()[0]

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole training; raises as :attr:`epoch` does."""
        return self._told()[1]

    def _told(self) -> tuple[int, int]:
        if self._epoch is None:
            raise RuntimeError(
                f'{type(self).__name__} depends on the epoch, but has not been told it. Either add '
                f"dict(type='ltmm.EpochHook') to the config's custom_hooks (as ltmm's default_runtime.py does), or "
                'call set_epoch(epoch, max_epochs) at the start of every epoch.'
            )
        return self._epoch
