"""Balanced softmax: train as if every class were equally likely at test time."""

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['BalancedSoftmaxLoss']


@MODELS.register_module()
class BalancedSoftmaxLoss(AdjustedCrossEntropyLoss):
    r"""Raises the bar for the head and lowers it for the tail by the log of their training frequencies.

    .. math:: \ell(z, y) = -\log \frac{\pi_y e^{z_y}}{\sum_c \pi_c e^{z_c}}

    Predict with the plain logits: the prior is removed by leaving it out. A class without training samples has no part
    in the sum and gets no gradient.

    [0] Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740.
    [1] github.com/jiawei-ren/BalancedMetaSoftmax-Classification @34a61e4. Equal to [1] on its own numbers
        (tests/conformance, ``balanced_softmax``).

    Args:
        loss_weight: factor of the loss.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_counts: training images per class, as a list or ``{class name: count}``; taken from the training data
            when left out.
        num_classes: C, where it is to be checked at build.

    Raises:
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """See :class:`AdjustedCrossEntropyLoss`."""
        return dict(offset=distribution.log_prior)
