"""Query-shared distillation: what a teacher's classifier says of the head classes stays said."""

from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..base import at_least_float32
from ..expert.base import kl_divergence
from .base import HeadClassLoss

__all__ = ['QuerySharedKDLoss', 'query_shared_kd_loss']


def query_shared_kd_loss(cls_score: Tensor, teacher_cls_score: Tensor, head_classes: Tensor) -> Tensor:
    """KL divergence of the student's softmax over the head classes from the teacher's, mean over all queries.

    Args:
        cls_score: the student's logits of the teacher's queries, (..., C) or wider.
        teacher_cls_score: the teacher's, of the same shape.
        head_classes: labels, (H,).
    """
    divergence = kl_divergence(teacher_cls_score[..., head_classes], cls_score[..., head_classes])  # (...)
    return divergence.sum() / max(divergence.numel(), 1)


@MODELS.register_module()
class QuerySharedKDLoss(HeadClassLoss):
    r"""Holds the classifier to what a frozen expert says of the head, while it learns the tail.

    .. math::
        L = \frac{1}{N} \sum_{i=1}^N \mathrm{KL}\big(
        \mathrm{softmax}(g_T(h_i)_H) \,\|\, \mathrm{softmax}(g(h_i)_H) \big)

    h are the features of the *teacher's* N queries (of all images), or proposals, g the student's and g_T the teacher's
    classifier, and H the head classes: both see the same features, so nothing has to be matched.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``loss_cls_dis_shared``. Equal to [1] on its own
        numbers (tests/conformance, ``stepwise``).

    Args:
        loss_weight: factor of the loss; 0.1 in [1].
        **kwargs: min_images, class_counts and num_classes of
            :class:`~ltmm.models.losses.distillation.base.HeadClassLoss`.
    """

    def __init__(self, loss_weight: float = 0.1, **kwargs: Any) -> None:
        super().__init__(loss_weight, **kwargs)

    def forward(self, cls_score: Tensor, teacher_cls_score: Tensor) -> Tensor:
        """The loss; 0 without queries.

        Args:
            cls_score: the student's logits of the teacher's queries, (..., C), or up to two columns wider, which
                background or objectness takes.
            teacher_cls_score: the teacher's, of the same shape.

        Raises:
            RuntimeError: no class distribution has arrived.
            ValueError: the logits differ in shape, or are not those of the classes of the training data.
        """
        head_classes, num_classes = self.get_head_classes(), self.get_class_distribution().num_classes
        if cls_score.shape != teacher_cls_score.shape or not 0 <= cls_score.size(-1) - num_classes <= 2:
            raise ValueError(
                f'QuerySharedKDLoss: expected logits of student and teacher of one shape, (..., {num_classes}) or up '
                f'to two columns wider, but got {tuple(cls_score.shape)} and {tuple(teacher_cls_score.shape)}.'
            )
        cls_score = at_least_float32(cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            loss = query_shared_kd_loss(cls_score, teacher_cls_score.to(cls_score), head_classes)
        return self.loss_weight * loss
