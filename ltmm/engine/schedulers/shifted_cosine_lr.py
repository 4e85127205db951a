"""Cosine annealing that is some epochs ahead."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.checks import check

__all__ = ['ShiftedCosineLR']


@PARAM_SCHEDULERS.register_module()
class ShiftedCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""Cosine annealing whose first epoch is below the base rate and whose last does not reach 0, unless told to.

    .. math:: \eta_t = \frac{\eta_0}{2} \Big(1 + \cos \frac{\pi (t + a)}{T + a}\Big), \qquad 0 \le t < T

    The code of BCL trains with it; t counts from ``begin``, T is ``end - begin``, a is 1. Those of Causal TDE and BALMS
    have T in place of T + a: their last epoch has rate 0. That of GLMC starts it at a = 2, after a warm-up that goes
    on for one epoch too many.

    Args:
        *args: Optimizer, and further arguments of MMEngine's schedulers.
        ahead: a, epochs that the cosine is ahead.
        reaches_zero: Have T in place of T + a.
        eta_min: The rate that the cosine falls to.
        **kwargs: Further arguments of MMEngine's schedulers.
    """

    def __init__(
        self, *args: Any, ahead: int = 1, reaches_zero: bool = False, eta_min: float = 0.0, **kwargs: Any
    ) -> None:
        check(ahead=(ahead, 'int >= 1'))
        self.ahead, self.reaches_zero, self.eta_min = ahead, reaches_zero, eta_min
        super().__init__(*args, **kwargs)

    def _get_value(self) -> list[float]:
        length = self.end - self.begin + (0 if self.reaches_zero else self.ahead)
        factor = (1 + math.cos(math.pi * (self.last_step + self.ahead) / length)) / 2
        return [self.eta_min + factor * (base - self.eta_min) for base in self.base_values]
