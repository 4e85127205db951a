"""Focal loss of multi-label classification."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS

from ..base import check_at_least_zero
from .base import MultiLabelLoss
from .weighted_focal import weighted_focal

__all__ = ['MultiLabelFocalLoss']


@MODELS.register_module()
class MultiLabelFocalLoss(MultiLabelLoss):
    r"""Turns down what is already right, so that the easy negatives of a tail class do not outweigh its positives.

    .. math::
        \ell_{ic} = \kappa \, (1 - p_t)^\gamma (-\log p_t), \qquad
        p_t = \sigma(z_{ic}) \text{ if } y_{ic} = 1, \text{ else } 1 - \sigma(z_{ic})

    An unknown label adds 0; the mean still divides by all N * C labels.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``FocalLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``multilabel_baselines``).

    Args:
        gamma: strength, at least 0; 2 in [1].
        balance: kappa, factor of the loss; 2 in [1].
        **kwargs: loss_weight and reduction of :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`;
            ``'mean'`` in [1].

    Raises:
        ValueError: ``gamma`` is negative, or ``balance`` is not positive.
    """

    accepts_unknown = True
    leaves_unknown_out = True
    gives_total = True

    def __init__(self, gamma: float, balance: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_at_least_zero('gamma', gamma)
        if not 0 < balance < float('inf'):
            raise ValueError(f'Expected `balance` to be positive, but got {balance}.')
        self.gamma, self.scale = gamma, balance

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See :func:`~ltmm.models.losses.multi_label.weighted_focal.weighted_focal`."""
        return weighted_focal(cls_score, target, self.gamma, total=total)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, balance={self.scale}, {super().extra_repr()}'
