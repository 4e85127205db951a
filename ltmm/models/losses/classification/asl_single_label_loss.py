"""Asymmetric loss of single-label classification."""

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from ..base import ClassificationLoss
from ..multi_label.asymmetric import power

__all__ = ['ASLSingleLabelLoss', 'asl_single_label_loss']


def asl_single_label_loss(
    cls_score: Tensor, label: Tensor, gamma_pos: float, gamma_neg: float, smoothing: float
) -> Tensor:
    """One value per sample, (N,); for the arguments see :class:`ASLSingleLabelLoss`.

    Args:
        cls_score: logits, (N, C).
        label: class indices, (N,).
    """
    log_prob = cls_score.log_softmax(1)  # (N, C)
    prob, index = log_prob.exp(), label.unsqueeze(1)
    weight = power(prob, gamma_neg).scatter(1, index, power(1 - prob.gather(1, index), gamma_pos))
    target = torch.full_like(prob, smoothing / prob.size(1))
    target.scatter_(1, index, 1 - smoothing + smoothing / prob.size(1))
    return -(target * weight * log_prob).sum(1)


@MODELS.register_module()
class ASLSingleLabelLoss(ClassificationLoss):
    r"""Cross entropy with smoothed labels, in which what is smoothed to the wrong classes counts only where they score.

    .. math::
        \ell = -\sum_c \tilde y_c \, w_c \log p_c, \qquad w_y = (1 - p_y)^{\gamma_+}, \quad
        w_{c \ne y} = p_c^{\gamma_-}, \quad p = \mathrm{softmax}(z)

    [0] Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, arXiv 2009.14119.
    [1] github.com/Alibaba-MIIL/ASL @8c9e0bd, ``ASLSingleLabel``. Equal to [1] on its own numbers (tests/conformance,
        ``asl``).

    Args:
        gamma_pos: focusing of the label.
        gamma_neg: focusing of the other classes.
        smoothing: share of the label that is spread over all C classes.
        loss_weight: factor of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        smoothing: float = 0.1,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        if not 0 <= smoothing < 1:
            raise InputError(f'Expected `smoothing` to be in [0, 1), but got {smoothing}.')
        for name, value in dict(gamma_pos=gamma_pos, gamma_neg=gamma_neg).items():
            if not 0 <= value < float('inf'):
                raise InputError(f'Expected `{name}` to be at least 0, but got {value}.')
        self.gamma_pos, self.gamma_neg, self.smoothing = gamma_pos, gamma_neg, smoothing

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See :func:`asl_single_label_loss`."""
        return asl_single_label_loss(cls_score, label, self.gamma_pos, self.gamma_neg, self.smoothing)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'gamma_pos={self.gamma_pos}, gamma_neg={self.gamma_neg}, smoothing={self.smoothing}, '
            f'{super().extra_repr()}'
        )
