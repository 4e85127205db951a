"""Equalization loss: the head does not push the tail down."""

import warnings
from typing import Any

import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.registry import MODELS

from ..base import ClassPriorLoss
from .roi_cls_loss import RoIClsLoss
from .sigmoid_ce_loss import sigmoid_cross_entropy

__all__ = ['EQLLoss', 'eql_loss']

FREQUENCIES = ('image_frequency', 'instance_counts')


def eql_loss(cls_score: Tensor, label: Tensor, is_tail: Tensor) -> Tensor:
    """Sum over the classes of the sigmoid cross entropy without the tail's negatives, one value per proposal, (N,).

    Args:
        cls_score: logits, (N, C).
        label: class indices, (N,); C is background.
        is_tail: 1 for the classes that get no negative gradient from objects of other classes, 0 for the others, (C,).
    """
    is_tail = is_tail.to(cls_score)
    return sigmoid_cross_entropy(cls_score, label, negative=1 - is_tail, background=torch.ones_like(is_tail))


@MODELS.register_module()
class EQLLoss(RoIClsLoss, ClassPriorLoss):
    r"""Spares the tail the negative gradients that objects of all other classes would give it; the head is unchanged.

    .. math::
        L = \frac{1}{N} \sum_i \sum_j w_{ij} \, \mathrm{BCE}(z_{ij}, y_{ij}), \qquad
        w_{ij} = 1 - E_i \, [f_j < \lambda] \, (1 - y_{ij})

    E_i is 1 for an object and 0 for background, from which every class still learns. f_j is the share of the training
    images that hold class j; a class without images is tail. There is no background column: a proposal's scores are
    the C sigmoids. N counts the proposals that have a weight (``avg_factor`` of mmdet's heads); [2] divides by all
    proposals, which is the same unless some have weight 0. Dense and DETR heads take the loss as box heads do.

    [0] Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020, arXiv 2003.05176.
    [1] github.com/tztztztztz/eql.detectron2 @29224ac.
    [2] github.com/tztztztztz/eqlv2 @907fad9, ``EQL``. Equal to [2] on its own numbers (tests/conformance, ``eql``).

    Args:
        lambda_: classes below this frequency are tail; 0.0011 for LVIS v1 (815 of 1,203 classes) and 0.00177 for LVIS
            v0.5 in [1, 2].
        by: ``'image_frequency'``, or ``'instance_counts'``: f_j is the number of instances, with which [2] takes
            lambda_ = 1652 for OpenImages.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.base.ClassPriorLoss`.

    Raises:
        ValueError: lambda_ is not positive, or ``by`` is unknown.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    fits = ('roi', 'ltmm_dense', 'ltmm_detr')

    def __init__(self, lambda_: float, by: str = 'image_frequency', **kwargs: Any) -> None:
        if not 0 < lambda_ < float('inf'):
            raise ValueError(f'Expected `lambda_` to be positive, but got {lambda_}.')
        if by not in FREQUENCIES:
            raise ValueError(f'Expected `by` to be one of {sorted(FREQUENCIES)}, but got {by!r}.')
        self.lambda_, self.by = lambda_, by
        super().__init__(**kwargs)

    def on_num_classes(self, num_classes: int) -> None:
        """From now on counts must be of ``num_classes`` classes.

        Raises:
            ClassDistributionError: counts of another number of classes were given in the config.
        """
        known = self.class_distribution.get()
        if known is not None and known.num_classes != num_classes:
            raise ClassDistributionError(
                f'EQLLoss: expected `class_counts` to have {num_classes} entries, the `num_classes` of its head, but '
                f'got {known.num_classes}. Background is not counted.'
            )
        self._num_classes = num_classes

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        frequency = getattr(distribution, self.by)
        is_tail = frequency < self.lambda_
        if is_tail.all() or not is_tail.any():
            warnings.warn(
                f'EQLLoss(lambda_={self.lambda_}): {is_tail.sum()} of {len(is_tail)} classes are below it, so tail and '
                f'head are not told apart. `{self.by}` of the training data runs from {frequency.min():.3g} to '
                f'{frequency.max():.3g}.',
                stacklevel=2,
            )
        self.register_derived('is_tail', is_tail)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return eql_loss(cls_score, label, self.is_tail)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'lambda_={self.lambda_}, by={self.by!r}, {super().extra_repr()}'
