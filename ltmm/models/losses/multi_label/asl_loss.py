"""Asymmetric loss: easy negatives out, hard negatives down, positives as they are."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS

from ..base import check_at_least_zero
from .asymmetric import asymmetric, power
from .base import MultiLabelLoss

__all__ = ['ASLLoss', 'asl_loss']


def asl_loss(
    cls_score: Tensor,
    target: Tensor,
    gamma_neg: float,
    gamma_pos: float,
    clip: float,
    eps: float,
    detach_focus: bool,
    total: bool = False,
) -> Tensor:
    """Asymmetric loss of each label, (N, C); for the arguments see :class:`ASLLoss`.

    Args:
        cls_score: logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
        total: the sum of them instead, a number.
    """

    def focus(wrong: Tensor) -> Tensor:
        return power(wrong, gamma_neg)

    gammas = (gamma_pos, gamma_neg)
    return asymmetric(cls_score, target, gammas, focus, clip, eps, detach_focus, total=total)


@MODELS.register_module()
class ASLLoss(MultiLabelLoss):
    r"""Stops the many easy negatives from drowning a tail class's few positives, without turning the positives down.

    .. math::
        \ell_{ic} = -y \, (1 - p)^{\gamma_+} \log p - (1 - y) \, (1 - q)^{\gamma_-} \log q, \qquad
        q = \min(1 - p + m, 1)

    p is the sigmoid of the logit; a negative below the margin m costs nothing. An unknown label adds 0.

    [0] Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, arXiv 2009.14119.
    [1] github.com/Alibaba-MIIL/ASL @8c9e0bd, ``AsymmetricLoss``, ``AsymmetricLossOptimized``. Equal to [1] on its own
        numbers (tests/conformance, ``asl``).

    Args:
        gamma_neg: focusing of negatives; 4 in [1].
        gamma_pos: focusing of positives; 0 in the training of [1], 1 in its class.
        clip: m, in [0, 1); 0.05 in [1].
        detach_focus: no gradient through the powers; so in the training of [1].
        eps: p and q count as at least this; below it a label has no gradient.
        loss_weight: factor of the loss.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`; ``'sum'`` in [1], whose learning
            rate belongs to it.

    Raises:
        ValueError: a number out of range.
    """

    accepts_unknown = True
    leaves_unknown_out = True
    gives_total = True

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        detach_focus: bool = True,
        eps: float = 1e-8,
        loss_weight: float = 1.0,
        reduction: str = 'sum',
    ) -> None:
        super().__init__(loss_weight, reduction)
        check_asymmetric(clip=clip, eps=eps, gamma_neg=gamma_neg, gamma_pos=gamma_pos)
        self.constants = dict(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, eps=eps, detach_focus=detach_focus)

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See :func:`asl_loss`."""
        return asl_loss(cls_score, target, **self.constants, total=total)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return ', '.join([*(f'{key}={value}' for key, value in self.constants.items()), super().extra_repr()])


def check_asymmetric(clip: float, eps: float, **at_least_zero: Any) -> None:
    """Refuse constants of the asymmetric losses that are out of range."""
    if not 0 <= clip < 1:
        raise ValueError(f'Expected `clip` to be in [0, 1), but got {clip}.')
    if not 0 < eps < 1:
        raise ValueError(f'Expected `eps` to be in (0, 1), but got {eps}.')
    for name, value in at_least_zero.items():
        check_at_least_zero(name, value)
