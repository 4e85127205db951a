"""Hill loss: negatives that look positive are taken for missing labels."""

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..base import check_at_least_zero
from ..classification.sigmoid_focal_loss import focal_of_wrong_logit, focal_of_wrong_logit_with_grad
from ..functional import fused_loss
from .base import MultiLabelLoss, positives_of

__all__ = ['HillLoss', 'hill_loss']


def hill_loss(
    cls_score: Tensor, target: Tensor, lambda_: float, margin: float, gamma: float, total: bool = False
) -> Tensor:
    """Hill loss of each label, (N, C); for the arguments see :class:`HillLoss`.

    Args:
        cls_score: logits, (N, C).
        target: 1 positive, 0 negative, (N, C).
        total: the sum of all labels instead, a number.
    """

    def of_negatives(cls_score: Tensor) -> Tensor:
        prob = cls_score.sigmoid()
        return (lambda_ - prob) * prob.square()

    def of_negatives_with_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        prob = cls_score.sigmoid()
        slope = prob.mul(-3.0).add_(2 * lambda_).mul_(prob)  # 2 lambda p - 3 p^2
        return (lambda_ - prob).mul_(prob).mul_(prob), torch.ops.aten.sigmoid_backward(slope, prob)

    def of_positives(score: Tensor) -> Tensor:
        return focal_of_wrong_logit(margin - score, gamma)

    def of_positives_with_grad(score: Tensor) -> tuple[Tensor, Tensor]:
        loss, grad = focal_of_wrong_logit_with_grad(margin - score, gamma)
        return loss, grad.neg_()

    exceptions = (positives_of(target), of_positives, of_positives_with_grad)
    return fused_loss(cls_score, of_negatives, of_negatives_with_grad, exceptions=exceptions, total=total)


@MODELS.register_module()
class HillLoss(MultiLabelLoss):
    r"""Weighs a negative less the more it looks positive, where tail labels are the likeliest to be missing.

    .. math::
        \ell_{ic} = -y \, (1 - p_m)^\gamma \log p_m + (1 - y) \, (\lambda - p) \, p^2, \qquad
        p = \sigma(z_{ic}), \quad p_m = \sigma(z_{ic} - m)

    Missing positives are negatives here; an unknown label (-1) adds 0.

    [0] Zhang et al., Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv 2112.07368.
    [1] github.com/wannature/COMIC @1de14e5, ``Hill``. Equal to [1] on its own numbers (tests/conformance,
        ``hill_loss``).

    Args:
        lambda_: at least 1, so that no negative has a negative loss; at 1.5 the gradient of a sure one is 0.
        margin: m, what the logit of a positive is lowered by.
        gamma: focusing of positives, at least 0.
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
        lambda_: float = 1.5,
        margin: float = 1.0,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        reduction: str = 'sum',
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not 1 <= lambda_ < float('inf'):
            raise ValueError(f'Expected `lambda_` to be at least 1, but got {lambda_}.')
        check_at_least_zero('margin', margin)
        check_at_least_zero('gamma', gamma)
        self.lambda_, self.margin, self.gamma = lambda_, margin, gamma

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See :func:`hill_loss`."""
        return hill_loss(cls_score, target, self.lambda_, self.margin, self.gamma, total)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'lambda_={self.lambda_}, margin={self.margin}, gamma={self.gamma}, {super().extra_repr()}'
