"""Distillation of the classifier on the queries of the teacher, over the head classes."""

from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from ..base import at_least_float32, divisor
from ..expert.base import kl_divergence
from .base import HeadClassLoss

__all__ = ['QuerySharedKDLoss', 'query_shared_kd_loss']


def query_shared_kd_loss(cls_score: Tensor, teacher_cls_score: Tensor, head_classes: Tensor) -> Tensor:
    """Compute the KL divergence of the softmax over the head classes, mean over all queries of all ranks.

    Args:
        cls_score: Logits of the student for the queries of the teacher, (..., C) or wider.
        teacher_cls_score: Logits of the teacher, of the same shape.
        head_classes: Class indices, (H,).
    """
    divergence = kl_divergence(teacher_cls_score[..., head_classes], cls_score[..., head_classes])  # (...)
    return divergence.sum() / divisor(divergence.numel(), divergence)


@MODELS.register_module()
class QuerySharedKDLoss(HeadClassLoss):
    r"""KL divergence to the class probabilities of a frozen teacher, over the head classes.

    .. math::
        L = \frac{1}{N} \sum_{i=1}^N \mathrm{KL}\big(
        \mathrm{softmax}(g_T(h_i)_H) \,\|\, \mathrm{softmax}(g(h_i)_H) \big)

    with h the features of the *teacher's* N queries or proposals in all images, g and g_T the classifiers of student
    and teacher, and H the head classes. Both classifiers see the same features, so no matching is needed.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``loss_cls_dis_shared``. This implementation
        reproduces [1] (tests/conformance, ``stepwise``).

    Args:
        loss_weight: Weight of the loss; 0.1 in [1].
        **kwargs: ``min_images``, ``class_counts`` and ``num_classes`` of
            :class:`~ltmm.models.losses.distillation.base.HeadClassLoss`.
    """

    def __init__(self, *, loss_weight: float = 0.1, **kwargs: Any) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)

    def forward(self, cls_score: Tensor, teacher_cls_score: Tensor) -> Tensor:
        """Compute the loss; 0 without queries.

        Args:
            cls_score: Logits of the student for the queries of the teacher, (..., C), or up to two columns wider, for
                background or objectness.
            teacher_cls_score: Logits of the teacher, of the same shape.
        """
        head_classes, num_classes = self.get_head_classes(), self.get_class_distribution().num_classes
        if cls_score.shape != teacher_cls_score.shape or not 0 <= cls_score.size(-1) - num_classes <= 2:
            raise InputError(
                f'QuerySharedKDLoss: expected logits of student and teacher of the same shape, (..., {num_classes}) or '
                f'up to two columns wider, but got {tuple(cls_score.shape)} and {tuple(teacher_cls_score.shape)}.'
            )
        cls_score = at_least_float32(cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            loss = query_shared_kd_loss(cls_score, teacher_cls_score.to(cls_score), head_classes)
        return self.loss_weight * loss
