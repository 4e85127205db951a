"""Equalization loss: tail classes get no negative gradients from objects of other classes."""

from typing import Any

import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..functional import tail_classes
from .base import ClassPriorDetectionLoss
from .sigmoid_ce_loss import sigmoid_cross_entropy

__all__ = ['EQLLoss', 'eql_loss']

FREQUENCIES = ('image_frequency', 'instance_counts')


def eql_loss(cls_score: Tensor, label: Tensor, is_tail: Tensor) -> Tensor:
    """Compute the sigmoid cross entropy without the negatives of tail classes, summed over the classes, (N,).

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,); C is background.
        is_tail: 1 for tail classes, 0 for the others, (C,).
    """
    is_tail = is_tail.to(cls_score)
    return sigmoid_cross_entropy(cls_score, label, negative=1 - is_tail, background=torch.ones_like(is_tail))


@MODELS.register_module()
class EQLLoss(ClassPriorDetectionLoss):
    r"""Ignores the negative gradients that objects of other classes give to tail classes; head classes are unchanged.

    .. math::
        L = \frac{1}{N} \sum_i \sum_j w_{ij} \, \mathrm{BCE}(z_{ij}, y_{ij}), \qquad
        w_{ij} = 1 - E_i \, [f_j < \lambda] \, (1 - y_{ij})

    E_i is 1 for an object and 0 for background, from which every class still learns. f_j is the share of the training
    images that contain class j; a class without images is a tail class. There is no background column: the scores of a
    proposal are the C sigmoids. N counts the proposals with a weight (``avg_factor`` of mmdet's heads); [2] divides by
    all proposals.

    [0] Tan et al., Equalization Loss for Long-Tailed Object Recognition, CVPR 2020, arXiv 2003.05176.
    [1] github.com/tztztztztz/eql.detectron2 @29224ac.
    [2] github.com/tztztztztz/eqlv2 @907fad9, ``EQL``. Reproduces [2] to 1e-6 (tests/conformance, ``eql``).

    Args:
        lambda_: Frequency below which classes are tail classes; 0.0011 for LVIS v1 (815 of 1,203 classes) and 0.00177
            for LVIS v0.5 in [1, 2].
        by: ``'image_frequency'``, or ``'instance_counts'``: f_j is the number of instances, with which [2] takes
            ``lambda_=1652`` for OpenImages.
        **kwargs: Arguments of :class:`ClassPriorDetectionLoss`.
    """

    def __init__(self, *, lambda_: float, by: str = 'image_frequency', **kwargs: Any) -> None:
        check(lambda_=(lambda_, '> 0'), by=(by, FREQUENCIES))
        self.lambda_, self.by = lambda_, by
        super().__init__(**kwargs)

    @property
    def needs_num_images(self) -> bool:
        return self.by == 'image_frequency'

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        frequency = getattr(distribution, self.by)
        self.register_derived('is_tail', tail_classes(frequency, self.lambda_, self, self.by))

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return eql_loss(cls_score, label, self.is_tail)

    def extra_repr(self) -> str:
        return f'lambda_={self.lambda_}, by={self.by!r}, {super().extra_repr()}'
