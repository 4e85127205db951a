"""Balanced softmax: cross entropy with the logits shifted by the log class prior."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import smooth_labels
from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['BalancedSoftmaxLoss']


@MODELS.register_module()
class BalancedSoftmaxLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy that compensates for the class prior: rare classes get larger margins, frequent ones smaller.

    .. math:: \ell(z, y) = -\log \frac{\pi_y^\tau e^{z_y}}{\sum_c \pi_c^\tau e^{z_c}}

    Predict with the plain logits. Classes without training images are left out of the sum and get no gradient.

    [0] Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740.
    [1] github.com/jiawei-ren/BalancedMetaSoftmax-Classification @34a61e4. Reproduces [1] to 1e-6
        (tests/conformance, ``balanced_softmax``).
    [2] github.com/XuZhengzhuo/LiVT @68546ef, ``Bal_CE_loss``: with tau and smoothing. Reproduces [2] to 1e-6
        (tests/conformance, ``livt_bal_bce``).

    Args:
        tau: Strength; 1 in [0].
        smoothing: Share of the label that is spread over all C classes, of soft labels too.
        **kwargs: Arguments of :class:`ClassPriorLoss`.

    Examples:
        >>> loss = BalancedSoftmaxLoss(class_counts=[500, 60, 3])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor(2.6186)
    """

    def __init__(self, *, tau: float = 1.0, smoothing: float = 0.0, **kwargs: Any) -> None:
        check(tau=(tau, '> 0'), smoothing=(smoothing, 'in [0, 1)'))
        self.tau, self.smoothing = tau, smoothing
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        return dict(offset=self.tau * distribution.log_prior)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        label = smooth_labels(label, self.smoothing, like=cls_score) if self.smoothing else label
        return super().unreduced(cls_score, label)

    def extra_repr(self) -> str:
        return f'tau={self.tau}, smoothing={self.smoothing}, {super().extra_repr()}'
