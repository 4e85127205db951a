"""Cosine annealing of the whole training after a linear warm-up to its value there."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['WarmupToCosineLR']


@PARAM_SCHEDULERS.register_module()
class WarmupToCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""Cosine annealing over all epochs, after a warm-up, iteration by iteration, to its value in epoch W.

    .. math:: \eta_e = \eta_{\min} + \frac{\eta_0 - \eta_{\min}}{2} \Big(1 + \cos \frac{\pi e}{T}\Big), \qquad
        \eta_{e, b} = \eta_s + \frac{e + b / n}{W} (\eta_W - \eta_s) \text{ for } e < W

    in iteration b of n of epoch e, counted from 0. The code of SBCL (github.com/JackHck/SBCL @3b9047a) counts the
    epochs of the warm-up from 1: :math:`e - 1` in place of e, for :math:`e \le W`. **Its rate is negative in most of
    the first epoch**, and the warm-up lasts an epoch longer; ``as_published`` has that. It also takes
    :math:`\eta_{\min} / r` in place of :math:`\eta_{\min}` in :math:`\eta_W`, with r = 0.1.

    Use it with ``convert_to_iter_based=True``.

    Args:
        *args: Optimizer, and further arguments of MMEngine's schedulers.
        warmup_epochs: W, less than T, all epochs of the schedule.
        start_factor: :math:`\eta_s / \eta_0`; 0.02 in SBCL.
        eta_min_ratio: :math:`\eta_{\min} / \eta_0`; 1e-4 in SBCL.
        as_published: See above.
        epoch_length: n, which ``convert_to_iter_based`` sets.
        **kwargs: Further arguments of MMEngine's schedulers.
    """

    def __init__(
        self,
        *args: Any,
        warmup_epochs: int = 10,
        start_factor: float = 0.02,
        eta_min_ratio: float = 1e-4,
        as_published: bool = False,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        check(warmup_epochs=(warmup_epochs, 'int >= 1'), start_factor=(start_factor, '>= 0'))
        check(eta_min_ratio=(eta_min_ratio, 'in [0, 1)'))
        if epoch_length is None:
            raise InputError('WarmupToCosineLR changes the rate in every iteration: set convert_to_iter_based=True.')
        self.warmup_epochs, self.start_factor, self.eta_min_ratio = warmup_epochs, start_factor, eta_min_ratio
        self.as_published, self.epoch_length = as_published, epoch_length
        super().__init__(*args, **kwargs)
        if warmup_epochs >= self.num_epochs:
            raise InputError(
                f'WarmupToCosineLR: expected warmup_epochs below its {self.num_epochs:g} epochs, but got '
                f'{warmup_epochs}.'
            )

    @property
    def num_epochs(self) -> float:
        """T."""
        return (self.end - self.begin) / self.epoch_length

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = 10**9,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> 'WarmupToCosineLR':
        """Build it from a config that counts epochs."""
        begin, end = begin * epoch_length, end * epoch_length
        return cls(*args, begin=begin, end=end, by_epoch=False, epoch_length=epoch_length, **kwargs)

    def _get_value(self) -> list[float]:
        epoch, iteration = divmod(self.last_step, self.epoch_length)

        def cosine(epoch: int, minimum: float) -> float:
            return minimum + (1 - minimum) * (1 + math.cos(math.pi * epoch / self.num_epochs)) / 2

        if epoch < self.warmup_epochs + self.as_published:
            top = cosine(self.warmup_epochs, self.eta_min_ratio * (10 if self.as_published else 1))
            progress = (epoch - self.as_published + iteration / self.epoch_length) / self.warmup_epochs
            factor = self.start_factor + progress * (top - self.start_factor)
        else:
            factor = cosine(epoch, self.eta_min_ratio)
        return [factor * base for base in self.base_values]
