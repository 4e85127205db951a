"""Focal loss and binary cross entropy with one sigmoid per class."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassificationLoss
from ..functional import sigmoid_focal

__all__ = ['SigmoidFocalLoss', 'sigmoid_focal_loss']


def sigmoid_focal_loss(cls_score: Tensor, label: Tensor, gamma: float) -> Tensor:
    r"""Compute the sum over the classes of :math:`(1 - p_t)^\gamma (-\log p_t)`, (N,).

    p_t is sigmoid(z) for the label, and 1 - sigmoid(z) for the other classes.

    Args:
        cls_score: Logits z, (N, C).
        label: Class indices, (N,), or soft labels, (N, C), the weights of the positive and the negative loss.
        gamma: Focusing strength; 0 gives binary cross entropy.
    """
    if label.dim() == 2:
        return (label * sigmoid_focal(-cls_score, gamma) + (1 - label) * sigmoid_focal(cls_score, gamma)).sum(1)
    index = label.unsqueeze(1)  # (N, 1)
    wrong = cls_score.scatter(1, index, -cls_score.gather(1, index))  # (N, C)
    return sigmoid_focal(wrong, gamma).sum(1)


@MODELS.register_module()
class SigmoidFocalLoss(ClassificationLoss):
    r"""Focal loss on C binary problems: down-weights easy samples, most of them negatives of tail classes.

    .. math::
        \ell = \sum_c (1 - p_{t,c})^\gamma (-\log p_{t,c}), \qquad
        p_{t,c} = \sigma(z_c) \text{ if } c = y, \text{ else } 1 - \sigma(z_c)

    gamma = 0 is binary cross entropy. The mean is over samples, not over samples and classes. For a stable start set
    the classifier bias to -log(C - 1), as [2] does: ``init_cfg=dict(type='Normal', layer='Linear', std=0.01,
    bias=-4.595)`` for C = 100. Heads predict the same class from sigmoid and softmax.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, ``FocalLoss``. Reproduces [1] to 1e-6 (tests/conformance,
        ``reweight_bagoftricks``).
    [2] github.com/richardaecn/class-balanced-loss @1d78572.

    Args:
        gamma: Focusing strength.
        **kwargs: Arguments of :class:`ClassificationLoss`.
    """

    accepts_soft_labels = True
    use_sigmoid = True

    def __init__(self, *, gamma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(gamma=(gamma, '>= 0'))
        self.gamma = gamma

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return sigmoid_focal_loss(cls_score, label, self.gamma)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, {super().extra_repr()}'
