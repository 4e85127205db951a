"""Focal loss for multi-label classification."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import sigmoid_focal
from .base import MultiLabelLoss

__all__ = ['MultiLabelFocalLoss']


@MODELS.register_module()
class MultiLabelFocalLoss(MultiLabelLoss):
    r"""Binary cross entropy that down-weights easy labels, most of them negatives of tail classes.

    .. math::
        \ell_{ic} = \kappa \, (1 - p_t)^\gamma (-\log p_t), \qquad
        p_t = \sigma(z_{ic}) \text{ if } y_{ic} = 1, \text{ else } 1 - \sigma(z_{ic})

    Unknown labels have loss 0, but count in the mean.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``FocalLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``multilabel_baselines``).

    Args:
        gamma: Focusing strength.
        balance: kappa.
        **kwargs: Arguments of :class:`MultiLabelLoss`; reduction ``'mean'`` in [1].
    """

    accepts_unknown = True

    def __init__(self, *, gamma: float = 2.0, balance: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(gamma=(gamma, '>= 0'), balance=(balance, '> 0'))
        self.gamma, self.balance = gamma, balance

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return self.balance * sigmoid_focal((1 - 2 * target) * cls_score, self.gamma)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, balance={self.balance}, {super().extra_repr()}'
