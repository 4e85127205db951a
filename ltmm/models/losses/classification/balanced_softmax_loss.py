"""Balanced softmax: cross entropy with the logits shifted by the log class prior."""

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['BalancedSoftmaxLoss']


@MODELS.register_module()
class BalancedSoftmaxLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy that compensates for the class prior: rare classes get larger margins, frequent ones smaller.

    .. math:: \ell(z, y) = -\log \frac{\pi_y e^{z_y}}{\sum_c \pi_c e^{z_c}}

    Predict with the plain logits. Classes without training images are left out of the sum and get no gradient.

    [0] Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740.
    [1] github.com/jiawei-ren/BalancedMetaSoftmax-Classification @34a61e4. Reproduces [1] to 1e-6
        (tests/conformance, ``balanced_softmax``).

    Args:
        **kwargs: Arguments of :class:`ClassPriorLoss`.

    Examples:
        >>> loss = BalancedSoftmaxLoss(class_counts=[500, 60, 3])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor(2.6186)
    """

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        return dict(offset=distribution.log_prior)
