"""Asymmetric loss: focusing and a margin for negatives only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import power
from .base import MultiLabelLoss

__all__ = ['ASLLoss', 'asl_loss', 'probability_of_truth']


def probability_of_truth(cls_score: Tensor, target: Tensor, clip: float) -> Tensor:
    """Compute sigmoid(z) for positives and 1 - sigmoid(z) + clip for negatives, (N, C).

    Args:
        cls_score: Logits z, (N, C).
        target: 1 positive, 0 negative, (N, C).
        clip: Margin; negatives with a score below it have a probability above 1.
    """
    return ((2 * target - 1) * cls_score).sigmoid() + clip * (1 - target)


def asl_loss(
    cls_score: Tensor,
    target: Tensor,
    gamma_pos: float,
    gamma_neg: float,
    clip: float,
    eps: float = 1e-8,
    detach_focus: bool = True,
) -> Tensor:
    r"""Compute :math:`-(1 - t)^\gamma \log t` with t the probability of the truth, (N, C).

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
        gamma_pos: Exponent for positives.
        gamma_neg: Exponent for negatives.
        clip: Margin of negatives.
        eps: Lower bound of t.
        detach_focus: Stop the gradient through :math:`(1 - t)^\gamma`.
    """
    truth = F.hardtanh(probability_of_truth(cls_score, target, clip), eps, 1)  # clamp, with a faster backward
    wrong = 1 - (truth.detach() if detach_focus else truth)
    focus = torch.lerp(power(wrong, gamma_neg), power(wrong, gamma_pos), target)
    return -focus * truth.log()


@MODELS.register_module()
class ASLLoss(MultiLabelLoss):
    r"""Asymmetric loss: down-weights easy negatives and ignores very easy ones, but leaves positives as they are.

    .. math::
        \ell_{ic} = -y \, (1 - p)^{\gamma_+} \log p - (1 - y) \, (1 - q)^{\gamma_-} \log q, \qquad
        q = \min(1 - p + m, 1)

    p is the sigmoid of the logit. Unknown labels have loss 0.

    [0] Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, arXiv 2009.14119.
    [1] github.com/Alibaba-MIIL/ASL @8c9e0bd, ``AsymmetricLoss``, ``AsymmetricLossOptimized``. Reproduces [1] to 1e-6
        (tests/conformance, ``asl``).

    Args:
        gamma_neg: Focusing of negatives; 4 in [1].
        gamma_pos: Focusing of positives; 0 in the training of [1], 1 by default there.
        clip: m; 0.05 in [1].
        detach_focus: Stop the gradient through the powers, as the training of [1] does.
        eps: Lower bound of p and q in the logarithms; no gradient below it.
        reduction: See :class:`MultiLabelLoss`; ``'sum'`` in [1].
        **kwargs: ``loss_weight`` and ``class_weight`` of :class:`MultiLabelLoss`.
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        gamma_neg: float = 4.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        detach_focus: bool = True,
        eps: float = 1e-8,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        check(gamma_neg=(gamma_neg, '>= 0'), gamma_pos=(gamma_pos, '>= 0'))
        check(clip=(clip, 'in [0, 1)'), eps=(eps, 'in (0, 1)'))
        self.constants = dict(gamma_pos=gamma_pos, gamma_neg=gamma_neg, clip=clip, eps=eps, detach_focus=detach_focus)

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return asl_loss(cls_score, target, **self.constants)

    def extra_repr(self) -> str:
        return ', '.join([*(f'{key}={value}' for key, value in self.constants.items()), super().extra_repr()])
