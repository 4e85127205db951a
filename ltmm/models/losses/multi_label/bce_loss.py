"""Binary cross entropy: each class a yes-or-no question of its own."""

import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS

from .base import MultiLabelLoss

__all__ = ['MultiLabelBCELoss']


@MODELS.register_module()
class MultiLabelBCELoss(MultiLabelLoss):
    r"""The plain loss: the few positives of a tail class stand against all other images as its negatives.

    .. math:: \ell_{ic} = -y_{ic} \log \sigma(z_{ic}) - (1 - y_{ic}) \log (1 - \sigma(z_{ic}))

    An unknown label adds 0; the mean still divides by all N * C labels.

    [1] github.com/wutong16/DistributionBalancedLoss @14460d0. Equal to [1] on its own numbers (tests/conformance,
        ``multilabel_baselines``).

    Args:
        loss_weight: factor of the loss.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`; ``'mean'`` in [1].
    """

    accepts_unknown = True
    leaves_unknown_out = True
    gives_total = True

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """PyTorch's own."""
        return F.binary_cross_entropy_with_logits(cls_score, target, reduction='sum' if total else 'none')
