"""Hill loss: less weight for negatives with a high score, which may be missing labels."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import power
from .base import MultiLabelLoss

__all__ = ['HillLoss', 'hill_loss']


def hill_loss(cls_score: Tensor, target: Tensor, lambda_: float, margin: float, gamma: float) -> Tensor:
    """Compute the Hill loss of each label, (N, C); see :class:`HillLoss` for the other arguments.

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
    """
    wrong = (1 - 2 * target) * (cls_score - margin * target)  # logit of the wrong answer
    prob = wrong.sigmoid()  # 1 - p_m for positives, p for negatives
    focus = prob**2 if gamma == 2 else torch.lerp(prob**2, power(prob, gamma), target)
    return focus * torch.lerp(lambda_ - prob, F.softplus(wrong), target)


@MODELS.register_module()
class HillLoss(MultiLabelLoss):
    r"""Focal loss for positives, and a bounded loss for negatives, which down-weights likely missing positives.

    .. math::
        \ell_{ic} = -y \, (1 - p_m)^\gamma \log p_m + (1 - y) \, (\lambda - p) \, p^2, \qquad
        p = \sigma(z_{ic}), \quad p_m = \sigma(z_{ic} - m)

    Missing positives are negatives here; unknown labels (-1) have loss 0.

    [0] Zhang et al., Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv 2112.07368.
    [1] github.com/wannature/COMIC @1de14e5, ``Hill``. Reproduces [1] to 1e-6 (tests/conformance, ``hill_loss``).

    Args:
        lambda_: At least 1, so that no loss is negative; with 1.5 the gradient of confident negatives vanishes.
        margin: m.
        gamma: Focusing of positives.
        reduction: See :class:`MultiLabelLoss`; ``'sum'`` in [1].
        **kwargs: ``loss_weight`` and ``class_weight`` of :class:`MultiLabelLoss`.
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        lambda_: float = 1.5,
        margin: float = 1.0,
        gamma: float = 2.0,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        check(lambda_=(lambda_, '>= 1'), margin=(margin, '>= 0'), gamma=(gamma, '>= 0'))
        self.lambda_, self.margin, self.gamma = lambda_, margin, gamma

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return hill_loss(cls_score, target, self.lambda_, self.margin, self.gamma)

    def extra_repr(self) -> str:
        return f'lambda_={self.lambda_}, margin={self.margin}, gamma={self.gamma}, {super().extra_repr()}'
