"""RIDE's second run: few experts learn from a larger ensemble."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS

from ..base import check_at_least_zero
from .base import kl_divergence
from .ride_loss import RIDELoss

__all__ = ['RIDEDistillLoss']


@MODELS.register_module()
class RIDEDistillLoss(RIDELoss):
    r"""RIDE's loss, while the mean of the experts learns from a trained ensemble of more experts, better on the tail.

    .. math::
        E \, \Big[ L_\mathrm{RIDE} + \alpha \, T^2 \,
        \mathrm{KL}\big(\mathrm{softmax}(\bar z_\mathrm{teacher} / T) \,\|\, \mathrm{softmax}(\bar z / T)\big) \Big]

    The factor E, and that the mean of the experts learns rather than each of them, follow the code, where the paper
    says otherwise. It needs ``type='ltmm.DistillClassifier'`` as model, which holds the teacher.

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDELossWithDistill``. Equal to [1] on its own
        numbers (tests/conformance, ``ride``).

    Args:
        *args: of :class:`RIDELoss`.
        distill_temperature: T, positive.
        distill_weight: alpha, at least 0.
        **kwargs: of :class:`RIDELoss`.

    Raises:
        ValueError: T is not positive, or alpha is negative; at a forward without the logits of a teacher; or what
            :class:`RIDELoss` raises.
    """

    needs_teacher = True

    def __init__(
        self, *args: Any, distill_temperature: float = 1.5, distill_weight: float = 1.0, **kwargs: Any
    ) -> None:
        if not 0 < distill_temperature < float('inf'):
            raise ValueError(f'Expected `distill_temperature` to be positive, but got {distill_temperature}.')
        check_at_least_zero('distill_weight', distill_weight)
        self.distill_temperature, self.distill_weight = distill_temperature, distill_weight
        super().__init__(*args, **kwargs)

    def terms(self, expert_logits: Tensor, label: Tensor, teacher_logits: Tensor | None = None) -> dict[str, Tensor]:
        """The terms of :class:`RIDELoss`, and ``loss_distill``.

        Args:
            expert_logits: (E, N, C).
            label: (N,).
            teacher_logits: (N, C).
        """
        if teacher_logits is None:
            raise ValueError(
                "RIDEDistillLoss needs the logits of a teacher: use model=dict(type='ltmm.DistillClassifier', ...)."
            )
        t = self.distill_temperature
        kl = kl_divergence(teacher_logits.to(expert_logits) / t, expert_logits.mean(0) / t).mean()
        terms = super().terms(expert_logits, label) | dict(loss_distill=self.distill_weight * t**2 * kl)
        return {name: len(expert_logits) * term for name, term in terms.items()}

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'{super().extra_repr()}, distill_temperature={self.distill_temperature}, '
            f'distill_weight={self.distill_weight}'
        )
