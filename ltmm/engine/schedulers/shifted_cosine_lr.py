"""Cosine annealing that is one epoch ahead."""

import math

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS

__all__ = ['ShiftedCosineLR']


@PARAM_SCHEDULERS.register_module()
class ShiftedCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""Cosine annealing whose first epoch is below the base rate and whose last does not reach 0.

    .. math:: \eta_t = \frac{\eta_0}{2} \Big(1 + \cos \frac{\pi (t + 1)}{T + 1}\Big), \qquad 0 \le t < T

    The code of BCL trains with it; t counts from ``begin``, T is ``end - begin``.
    """

    def _get_value(self) -> list[float]:
        factor = (1 + math.cos(math.pi * (self.last_step + 1) / (self.end - self.begin + 1))) / 2
        return [factor * base for base in self.base_values]
