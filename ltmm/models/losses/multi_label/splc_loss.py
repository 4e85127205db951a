"""Self-paced loss correction: what the model is sure of becomes positive."""

import math

import torch
from torch import Tensor

from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS

from ..base import check_at_least_zero
from ..classification.sigmoid_focal_loss import focal_of_wrong_logit, focal_of_wrong_logit_with_grad
from ..functional import fused_loss
from .base import MultiLabelLoss

__all__ = ['SPLCLoss']


@MODELS.register_module()
class SPLCLoss(UsesProgress, MultiLabelLoss):
    r"""Turns labels that are not marked positive, but score high, into positives: the tail's missing ones too.

    .. math::
        z' = z - m y, \qquad y' = y \vee [\sigma(z) > \tau], \qquad
        \ell_{ic} = -y' (1 - p')^\gamma \log p' - (1 - y') \, {p'}^\gamma \log (1 - p'), \quad p' = \sigma(z')

    Before ``start_epoch`` y' is y. Negative (0) and unknown (-1) labels are the same to it.

    [0] Zhang et al., Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv 2112.07368. After the paper's formulas; not compared with its authors' code.

    Args:
        tau: in (0, 1); 0.6 in [0].
        start_epoch: first epoch with corrected labels, counted from 0.
        margin: m, what the logit of an observed positive is lowered by.
        gamma: focusing, at least 0.
        loss_weight: factor of the loss.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`.

    Raises:
        ValueError: a number out of range.
        RuntimeError: at a forward, when nobody has told the epoch; the message says who should.
    """

    accepts_unknown = True
    gives_total = True

    def __init__(
        self,
        tau: float = 0.6,
        start_epoch: int = 1,
        margin: float = 1.0,
        gamma: float = 2.0,
        loss_weight: float = 1.0,
        reduction: str = 'sum',
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not 0 < tau < 1:
            raise ValueError(f'Expected `tau` to be in (0, 1), but got {tau}.')
        for name, value in dict(start_epoch=start_epoch, margin=margin, gamma=gamma).items():
            check_at_least_zero(name, value)
        self.tau, self.start_epoch, self.margin, self.gamma = tau, start_epoch, margin, gamma

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See the class."""
        threshold = math.log(self.tau / (1 - self.tau)) if self.epoch >= self.start_epoch else math.inf

        def corrected(cls_score: Tensor) -> Tensor:
            return (cls_score.detach() - threshold).sign_().maximum(target).clamp_(min=0)

        def wrong_logit(cls_score: Tensor, positive: Tensor) -> Tensor:
            shifted = torch.sub(cls_score, target.clamp(min=0), alpha=self.margin)
            return torch.addcmul(shifted, shifted, positive, value=-2)

        def value(cls_score: Tensor) -> Tensor:
            return focal_of_wrong_logit(wrong_logit(cls_score, corrected(cls_score)), self.gamma)

        def value_and_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
            positive = corrected(cls_score)
            loss, grad = focal_of_wrong_logit_with_grad(wrong_logit(cls_score, positive), self.gamma)
            return loss, grad.addcmul_(grad, positive, value=-2)

        return fused_loss(cls_score, value, value_and_grad, total=total)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'tau={self.tau}, start_epoch={self.start_epoch}, margin={self.margin}, gamma={self.gamma}, '
            f'{super().extra_repr()}'
        )
