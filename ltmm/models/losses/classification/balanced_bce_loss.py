"""Balanced binary cross entropy of LiVT, and its variant with a weight per class."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassPriorLoss
from ..functional import smooth_labels

__all__ = ['BalancedBCELoss', 'ClassBalancedBCELoss', 'balanced_bce_loss']


def balanced_bce_loss(cls_score: Tensor, label: Tensor, offset: Tensor | float, column_weight: Tensor) -> Tensor:
    """Compute the sum over the classes of the binary cross entropies of ``cls_score + offset``, (N,).

    Args:
        cls_score: Logits, (N, C).
        label: Soft labels, (N, C).
        offset: Added to the logits of each class, (C,).
        column_weight: Weight of the binary problem of each class, (C,).
    """
    losses = F.binary_cross_entropy_with_logits(cls_score + offset, label, column_weight, reduction='none')  # (N, C)
    return losses.sum(1)


@MODELS.register_module()
class BalancedBCELoss(ClassPriorLoss):
    r"""Binary cross entropy per class, with the log-odds of the class prior added: rare classes get larger margins.

    .. math::
        \ell = \sum_c \mathrm{BCE}\Big(\sigma\Big(z_c + \tau \log \frac{\pi_c}{1 - \pi_c}\Big), t_c\Big), \qquad
        t = (1 - \epsilon) \, y + \epsilon / C

    Predict with the plain logits. A class with none or with all of the training images has no binary problem: it is
    left out of the sum and gets no gradient. Smoothing applies to soft labels of Mixup and CutMix too, which equals
    smoothing before mixing, as [1] does.

    [0] Xu et al., Learning Imbalanced Data with Vision Transformers, CVPR 2023, arXiv 2212.02015.
    [1] github.com/XuZhengzhuo/LiVT @68546ef, ``BCE_loss`` of type ``Bal``, which has tau = 1. Reproduces [1] to 1e-6
        (tests/conformance, ``livt_bal_bce``, ``trajectory_livt``).

    Args:
        tau: Strength; 1 in [0], 1.05 for Places-LT.
        smoothing: Share of the label that is spread over all C classes.
        **kwargs: Arguments of :class:`ClassPriorLoss`.

    Examples:
        >>> loss = BalancedBCELoss(class_counts=[500, 60, 3])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor(3.8871)
    """

    accepts_soft_labels = True
    balances_classes = True

    def __init__(self, *, tau: float = 1.0, smoothing: float = 0.0, **kwargs: Any) -> None:
        check(tau=(tau, '>= 0'), smoothing=(smoothing, 'in [0, 1)'))
        self.tau, self.smoothing = tau, smoothing
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the log-odds of the classes, and which of them have a binary problem."""
        prior = distribution.prior
        is_binary = (prior > 0) & (prior < 1)
        odds = np.divide(prior, 1 - prior, out=np.ones_like(prior), where=is_binary)
        self.register_derived('offset', self.tau * np.log(odds))
        self.register_derived('column_weight', is_binary.astype(float))

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        label = smooth_labels(label, self.smoothing, like=cls_score)
        return balanced_bce_loss(cls_score, label, self.offset.to(cls_score), self.column_weight.to(cls_score))

    def extra_repr(self) -> str:
        return f'tau={self.tau}, smoothing={self.smoothing}, {super().extra_repr()}'


@MODELS.register_module()
class ClassBalancedBCELoss(ClassPriorLoss):
    r"""Binary cross entropy per class, in which the binary problem of a rare class has a larger weight.

    .. math:: \ell = \sum_c w_c \, \mathrm{BCE}(\sigma(z_c), t_c), \qquad w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}

    The weights have mean 1 over the classes with training images, and are 0 for the others. The baseline of LiVT; in
    :class:`ClassBalancedLoss` the weight is that of the sample instead.

    [1] github.com/XuZhengzhuo/LiVT @68546ef, ``BCE_loss`` of type ``CB``. Reproduces [1] to 1e-6 (tests/conformance,
        ``livt_bal_bce``).

    Args:
        beta: Of the effective number, in [0, 1).
        smoothing: Share of the label that is spread over all C classes.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    accepts_soft_labels = True
    balances_classes = True
    reweights = True

    def __init__(self, *, beta: float = 0.9999, smoothing: float = 0.0, **kwargs: Any) -> None:
        check(beta=(beta, 'in [0, 1)'), smoothing=(smoothing, 'in [0, 1)'))
        self.beta, self.smoothing = beta, smoothing
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the weights."""
        self.register_derived('column_weight', distribution.weights('effective_number', beta=self.beta))

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        label = smooth_labels(label, self.smoothing, like=cls_score)
        return balanced_bce_loss(cls_score, label, 0.0, self.column_weight.to(cls_score))

    def extra_repr(self) -> str:
        return f'beta={self.beta}, smoothing={self.smoothing}, {super().extra_repr()}'
