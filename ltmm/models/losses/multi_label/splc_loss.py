"""Self-paced loss correction: confident predictions become positive labels."""

import math
from typing import Any

import torch
from torch import Tensor

from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import sigmoid_focal
from .base import MultiLabelLoss

__all__ = ['SPLCLoss', 'splc_loss']


def splc_loss(cls_score: Tensor, target: Tensor, tau: float, margin: float, gamma: float) -> Tensor:
    """Compute the loss of each label, (N, C); see :class:`SPLCLoss` for the other arguments.

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, else 0, (N, C).
        tau: In (0, 1]; 1 corrects no label.
    """
    threshold = math.log(tau / (1 - tau)) if tau < 1 else math.inf
    corrected = torch.maximum((cls_score.detach() - threshold).sign(), target)  # 1 positive, else 0
    return sigmoid_focal((1 - 2 * corrected) * (cls_score - margin * target), gamma)


@MODELS.register_module()
class SPLCLoss(UsesProgress, MultiLabelLoss):
    r"""Focal loss that treats labels with a high score as positives, to recover missing ones.

    .. math::
        z' = z - m y, \qquad y' = y \vee [\sigma(z) > \tau], \qquad
        \ell_{ic} = -y' (1 - p')^\gamma \log p' - (1 - y') \, {p'}^\gamma \log (1 - p'), \quad p' = \sigma(z')

    Before ``start_epoch`` y' is y. Unknown labels (-1) are treated as negatives (0).

    [0] Zhang et al., Simple and Robust Loss Design for Multi-Label Learning with Missing Labels, 2021,
        arXiv 2112.07368. Follows the paper's formulas; not compared with its authors' code.

    Args:
        tau: 0.6 in [0].
        start_epoch: First epoch with corrected labels, counted from 0.
        margin: m.
        gamma: Focusing strength.
        reduction: See :class:`MultiLabelLoss`.
        **kwargs: ``loss_weight`` and ``class_weight`` of :class:`MultiLabelLoss`.
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        tau: float = 0.6,
        start_epoch: int = 1,
        margin: float = 1.0,
        gamma: float = 2.0,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        check(tau=(tau, 'in (0, 1)'), start_epoch=(start_epoch, '>= 0'), margin=(margin, '>= 0'), gamma=(gamma, '>= 0'))
        self.tau, self.start_epoch, self.margin, self.gamma = tau, start_epoch, margin, gamma

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        tau = self.tau if self.epoch >= self.start_epoch else 1.0
        return splc_loss(cls_score, target, tau, self.margin, self.gamma)

    def unreduced_partial(self, cls_score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        return self.unreduced(cls_score, target)

    def extra_repr(self) -> str:
        return (
            f'tau={self.tau}, start_epoch={self.start_epoch}, margin={self.margin}, gamma={self.gamma}, '
            f'{super().extra_repr()}'
        )
