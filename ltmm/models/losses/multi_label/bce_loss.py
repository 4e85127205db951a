"""Binary cross entropy for multi-label classification."""

import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS

from .base import MultiLabelLoss

__all__ = ['MultiLabelBCELoss']


@MODELS.register_module()
class MultiLabelBCELoss(MultiLabelLoss):
    r"""Binary cross entropy, the baseline: tail classes have few positives against all other images as negatives.

    .. math:: \ell_{ic} = -y_{ic} \log \sigma(z_{ic}) - (1 - y_{ic}) \log (1 - \sigma(z_{ic}))

    Unknown labels have loss 0, but count in the mean.

    [1] github.com/wutong16/DistributionBalancedLoss @14460d0. Reproduces [1] to 1e-6 (tests/conformance,
        ``multilabel_baselines``).

    Args:
        loss_weight: Weight of the loss.
        class_weight: See :class:`MultiLabelLoss`.
        reduction: See :class:`MultiLabelLoss`; ``'mean'`` in [1].
    """

    accepts_unknown = True

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(cls_score, target, reduction='none')
