"""Cosine annealing after a warm-up that is a share of the run."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.checks import check

__all__ = ['WarmupCosineLR']


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""Linear warm-up over a share of the run, then cosine annealing to 0; the same shape for any length of training.

    .. math:: \eta_t = \eta_0 \frac{t + 1}{W + 1} \text{ for } t < W, \qquad
        \eta_t = \frac{\eta_0}{2} \Big(1 + \cos \frac{\pi (t - W)}{T - W}\Big) \text{ for } W \le t < T

    T is the number of steps, W the warm-up rounded down. With ``by_epoch=False`` steps are iterations. Unlike
    MMEngine's ``OneCycleLR``, it keeps the rates of parts of the model, ``paramwise_cfg``.

    Args:
        *args: Optimizer, and further arguments of MMEngine's schedulers.
        warmup: Share of the run, in [0, 1).
        **kwargs: Further arguments of MMEngine's schedulers; ``end`` is that of the run by default.
    """

    def __init__(self, *args: Any, warmup: float = 0.1, **kwargs: Any) -> None:
        check(warmup=(warmup, 'in [0, 1)'))
        self.warmup = warmup
        super().__init__(*args, **kwargs)

    def _get_value(self) -> list[float]:
        length = self.end - self.begin
        warmup, step = int(self.warmup * length), self.last_step
        if step < warmup:
            factor = (step + 1) / (warmup + 1)
        else:
            factor = (1 + math.cos(math.pi * (step - warmup) / (length - warmup))) / 2
        return [factor * base for base in self.base_values]
