"""Cosine annealing that is one epoch ahead."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS

__all__ = ['ShiftedCosineLR']


@PARAM_SCHEDULERS.register_module()
class ShiftedCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""Cosine annealing whose first epoch is below the base rate and whose last does not reach 0, unless told to.

    .. math:: \eta_t = \frac{\eta_0}{2} \Big(1 + \cos \frac{\pi (t + 1)}{T + 1}\Big), \qquad 0 \le t < T

    The code of BCL trains with it; t counts from ``begin``, T is ``end - begin``. Those of Causal TDE and BALMS have T
    in place of T + 1: their last epoch has rate 0.

    Args:
        *args: Optimizer, and further arguments of MMEngine's schedulers.
        reaches_zero: Have T in place of T + 1.
        eta_min: The rate that the cosine falls to.
        **kwargs: Further arguments of MMEngine's schedulers.
    """

    def __init__(self, *args: Any, reaches_zero: bool = False, eta_min: float = 0.0, **kwargs: Any) -> None:
        self.reaches_zero, self.eta_min = reaches_zero, eta_min
        super().__init__(*args, **kwargs)

    def _get_value(self) -> list[float]:
        length = self.end - self.begin + (not self.reaches_zero)
        factor = (1 + math.cos(math.pi * (self.last_step + 1) / length)) / 2
        return [self.eta_min + factor * (base - self.eta_min) for base in self.base_values]
