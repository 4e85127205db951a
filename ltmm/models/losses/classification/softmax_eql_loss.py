"""Softmax equalization loss: images of other classes often leave tail classes out of the softmax."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassPriorLoss
from ..functional import tail_classes

__all__ = ['SoftmaxEQLLoss', 'softmax_eql_loss']


def softmax_eql_loss(cls_score: Tensor, label: Tensor, is_dropped: Tensor) -> Tensor:
    """Compute the cross entropy without the dropped classes, (N,); the class of the label always stays.

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,).
        is_dropped: Whether a class is left out of the softmax of an image, bool, (N, C).
    """
    is_dropped = is_dropped.scatter(1, label.unsqueeze(1), False)
    return F.cross_entropy(cls_score.masked_fill(is_dropped, -torch.inf), label, reduction='none')


@MODELS.register_module()
class SoftmaxEQLLoss(ClassPriorLoss):
    r"""Ignores most negative gradients that images of other classes give to tail classes; head classes are unchanged.

    .. math::
        \ell(z, y) = -\log \frac{e^{z_y}}{\sum_k w_k e^{z_k}}, \qquad
        w_k = 1 - \beta_k \, [f_k < \lambda] \, [k \ne y], \qquad \beta_k \sim \mathrm{Bernoulli}(\gamma)

    f_k is the share of the training images of class k, and beta is drawn for every image and class. This is the form
    of :class:`EQLLoss` for image classification. Predict with the plain logits.

    [0] Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020, arXiv 2003.05176.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, ``SEQL``; [0] has no code for classification.

    Args:
        lambda_: Frequency below which classes are tail classes; 0.005 for CIFAR100-LT in [1].
        drop_prob: gamma; 0.9 in [1].
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    def __init__(self, *, lambda_: float, drop_prob: float = 0.9, **kwargs: Any) -> None:
        check(lambda_=(lambda_, '> 0'), drop_prob=(drop_prob, 'in [0, 1]'))
        self.lambda_, self.drop_prob = lambda_, drop_prob
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('is_tail', tail_classes(distribution.image_frequency, self.lambda_, self))

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        is_dropped = (torch.rand_like(cls_score) < self.drop_prob) & self.is_tail.bool()
        return softmax_eql_loss(cls_score, label, is_dropped)

    def extra_repr(self) -> str:
        return f'lambda_={self.lambda_}, drop_prob={self.drop_prob}, {super().extra_repr()}'
