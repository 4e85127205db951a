"""Cosine annealing that stops on the way."""

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['PartialCosineLR']


@PARAM_SCHEDULERS.register_module()
class PartialCosineLR(LRSchedulerMixin, _ParamScheduler):
    r"""The first part of a cosine, as in FixMatch and the methods after it: the rate ends at a fifth of the base rate.

    .. math:: \eta_t = \eta_0 \cos \frac{k \pi t}{T}, \qquad 0 \le t < T

    t counts from ``begin``, T is ``end - begin``.

    Args:
        *args: Optimizer, and further arguments of MMEngine's schedulers.
        fraction: k, at most 1/2.
        **kwargs: Further arguments of MMEngine's schedulers.
    """

    def __init__(self, *args: Any, fraction: float = 7 / 16, **kwargs: Any) -> None:
        check(fraction=(fraction, '> 0'))
        if fraction > 0.5:
            raise InputError(f'Expected `fraction` to be at most 1/2, where the rate is 0, but got {fraction}.')
        self.fraction = fraction
        super().__init__(*args, **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, epoch_length: int, end: int, begin: int = 0, by_epoch: bool = True, **kwargs: Any
    ) -> 'PartialCosineLR':
        """Build from a config in epochs, as MMEngine does with ``convert_to_iter_based=True``."""
        return cls(*args, begin=begin * epoch_length, end=end * epoch_length, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        factor = math.cos(self.fraction * math.pi * self.last_step / (self.end - self.begin))
        return [factor * base for base in self.base_values]
