"""Focal loss and binary cross entropy on one sigmoid per class."""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from ..base import ClassificationLoss
from ..functional import fused_loss

__all__ = [
    'SigmoidFocalLoss',
    'focal_of_wrong_logit',
    'focal_of_wrong_logit_with_grad',
    'sigmoid_focal_loss',
]


def sigmoid_focal_loss(cls_score: Tensor, label: Tensor, gamma: float) -> Tensor:
    r"""Sum over the classes of :math:`(1 - p_t)^\gamma (-\log p_t)`, one value per sample, (N,).

    p_t is the sigmoid of the logit for the label, 1 minus it for the other classes. In terms of the logit x for the
    wrong answer (-z for the label, z for the others) it is softplus(x) sigmoid(x)^gamma, which neither overflows nor
    has a gradient that does.

    Args:
        cls_score: logits z, (N, C).
        label: class indices, (N,), or soft labels, (N, C), which weigh the two answers of each class.
        gamma: strength; 0 is binary cross entropy.
    """
    if label.dim() == 2:
        return (
            label * focal_of_wrong_logit(-cls_score, gamma) + (1 - label) * focal_of_wrong_logit(cls_score, gamma)
        ).sum(1)
    index = label.unsqueeze(1)  # (N, 1)

    def value(cls_score: Tensor) -> Tensor:
        wrong = cls_score.scatter(1, index, -cls_score.gather(1, index))  # (N, C)
        return focal_of_wrong_logit(wrong, gamma).sum(1)

    def value_and_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        loss, grad = focal_of_wrong_logit_with_grad(cls_score, gamma)  # (N, C), as if every answer were no
        loss_of_label, grad_of_label = focal_of_wrong_logit_with_grad(-cls_score.gather(1, index), gamma)
        return loss.scatter_(1, index, loss_of_label).sum(1), grad.scatter_(1, index, -grad_of_label)

    return fused_loss(cls_score, value, value_and_grad)


def focal_of_wrong_logit(wrong: Tensor, gamma: float) -> Tensor:
    """softplus(x) sigmoid(x)^gamma of the logits x for the wrong answers, (N, C)."""
    cost = F.softplus(wrong)
    return cost if gamma == 0 else cost * (gamma * (wrong - cost)).exp()


def focal_of_wrong_logit_with_grad(wrong: Tensor, gamma: float, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same and its derivative, both times ``weight``, (N, C) each, with few passes over memory."""
    cost, prob = F.softplus(wrong), wrong.sigmoid()
    if gamma == 0:
        return (cost, prob) if weight is None else (cost.mul_(weight), prob.mul_(weight))
    # an exponential of base 2 is faster than one of base e
    modulation = prob.square() if gamma == 2 else (wrong - cost).mul_(gamma / math.log(2)).exp2_()
    if weight is not None:
        modulation.mul_(weight)
    loss = cost.mul_(modulation)
    return loss, modulation.mul_(prob).addcmul_(loss, prob.sub_(1), value=-gamma)  # m p + gamma loss (1 - p)


@MODELS.register_module()
class SigmoidFocalLoss(ClassificationLoss):
    r"""Turns down what is already right, in C separate yes-or-no questions: the many easy negatives of a tail class.

    .. math::
        \ell = \sum_c (1 - p_{t,c})^\gamma (-\log p_{t,c}), \qquad
        p_{t,c} = \sigma(z_c) \text{ if } c = y, \text{ else } 1 - \sigma(z_c)

    gamma = 0 is binary cross entropy. The mean divides by samples, not by samples times classes. Training starts calmly
    with a classifier bias of -log(C - 1), as [2] has it; in a config
    ``init_cfg=dict(type='Normal', layer='Linear', std=0.01, bias=-4.595)`` for C = 100. The largest sigmoid is also the
    largest softmax, so that heads predict the same class with either.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, ``FocalLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``reweight_bagoftricks``).
    [2] github.com/richardaecn/class-balanced-loss @1d78572.

    Args:
        gamma: strength, at least 0; 2 in [0].
        **kwargs: loss_weight and reduction of :class:`~ltmm.models.losses.base.ClassificationLoss`.

    Raises:
        ValueError: ``gamma`` is negative.
    """

    accepts_soft_labels = True
    use_sigmoid = True

    def __init__(self, gamma: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= gamma < float('inf'):
            raise InputError(f'Expected `gamma` to be at least 0, but got {gamma}.')
        self.gamma = gamma

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See :func:`sigmoid_focal_loss`."""
        return sigmoid_focal_loss(cls_score, label, self.gamma)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, {super().extra_repr()}'
