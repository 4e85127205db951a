"""RIDE's second run: few experts learn from a larger ensemble."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import divisor
from ..objective import LossInputs
from .base import kl_divergence
from .ride_loss import RIDELoss

__all__ = ['RIDEDistillLoss']


@MODELS.register_module()
class RIDEDistillLoss(RIDELoss):
    r"""Adds to the loss of RIDE a distillation from a trained ensemble with more experts, which is better on the tail.

    .. math::
        E \, \Big[ L_\mathrm{RIDE} + \alpha \, T^2 \,
        \mathrm{KL}\big(\mathrm{softmax}(\bar z_\mathrm{teacher} / T) \,\|\, \mathrm{softmax}(\bar z / T)\big) \Big]

    The factor E, and that the mean of the experts is distilled rather than each of them, follow the code where it
    differs from the paper. It needs ``model=dict(type='ltmm.DistillClassifier')``, which holds the teacher in
    evaluation mode; [1] leaves it in training mode, so that it normalizes by the batch, probably by oversight.

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDELossWithDistill``. Reproduces [1] to 1e-6
        (tests/conformance, ``ride`` and ``trajectory_ride_distill``).

    Args:
        distill_temperature: T.
        distill_weight: alpha.
        **kwargs: Arguments of :class:`RIDELoss`.
    """

    requires = ('expert_logits', 'teacher_logits')

    def __init__(self, *, distill_temperature: float = 1.5, distill_weight: float = 1.0, **kwargs: Any) -> None:
        check(distill_temperature=(distill_temperature, '> 0'), distill_weight=(distill_weight, '>= 0'))
        self.distill_temperature, self.distill_weight = distill_temperature, distill_weight
        super().__init__(**kwargs)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        expert_logits, t = inputs.expert_logits, self.distill_temperature
        kl = self.weighted(kl_divergence(inputs.teacher_logits / t, expert_logits.mean(0) / t), inputs.label)  # (N,)
        kl = kl.sum() / divisor(len(kl), kl)
        terms = super().terms(inputs) | dict(loss_distill=self.distill_weight * t**2 * kl)
        return {name: len(expert_logits) * term for name, term in terms.items()}

    def extra_repr(self) -> str:
        return (
            f'{super().extra_repr()}, distill_temperature={self.distill_temperature}, '
            f'distill_weight={self.distill_weight}'
        )
