"""Balanced softmax: train as if every class were equally likely at test time."""

import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .base import ClassPriorLoss

__all__ = ['BalancedSoftmaxLoss', 'balanced_softmax_loss']


def balanced_softmax_loss(cls_score: Tensor, label: Tensor, log_prior: Tensor) -> Tensor:
    """Cross entropy of ``cls_score + log_prior``, one value per sample, (N,).

    Args:
        cls_score: logits, (N, C).
        label: class indices, (N,), or soft labels, (N, C).
        log_prior: log of the training class frequencies, (C,); minus infinity takes a class out of the softmax.
    """
    if label.dim() == 1:
        return F.cross_entropy(cls_score + log_prior, label, reduction='none')  # (N,)
    log_prob = F.log_softmax(cls_score + log_prior, dim=1)  # (N, C)
    return -(label * log_prob.where(label > 0, 0)).sum(1)  # 0 * inf of an absent class is 0 here


@MODELS.register_module()
class BalancedSoftmaxLoss(ClassPriorLoss):
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

    accepts_soft_labels = True

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('log_prior', distribution.log_prior)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return balanced_softmax_loss(cls_score, label, self.log_prior.to(cls_score))
