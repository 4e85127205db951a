"""Faster and Mask R-CNN that learn from a frozen one."""

from typing import Any

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn

from ltmm.registry import MODELS

from .head_expert import LearnsFromHeadExpert

__all__ = ['DistillTwoStageDetector']


@MODELS.register_module()
class DistillTwoStageDetector(LearnsFromHeadExpert, TwoStageDetector):
    """Faster R-CNN or Mask R-CNN, which keeps to a frozen expert on the head classes while it learns the tail.

    The box head sees what the expert's features are in the expert's proposals, and learns the expert's answer: its
    proposals take the place of the queries that the paper has. See
    :class:`~ltmm.models.detectors.head_expert.LearnsFromHeadExpert` for arguments and errors.

    Raises:
        TypeError: a box head of several stages.
    """

    plain = TwoStageDetector

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.roi_head.bbox_head, nn.ModuleList):
            raise TypeError(
                f'DistillTwoStageDetector needs a RoI head with one box head, as Faster R-CNN and Mask R-CNN have, '
                f'but got {type(self.roi_head).__name__} with {len(self.roi_head.bbox_head)}.'
            )

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_kd``."""
        with torch.no_grad():
            proposals = self.teacher.rpn_head.predict(teacher_features, batch_data_samples, rescale=False)
            rois = bbox2roi([proposal.bboxes for proposal in proposals])  # (N, 5)
            outputs = self.teacher.roi_head._bbox_forward(teacher_features, rois)
        cls_score, _ = self.roi_head.bbox_head(outputs['bbox_feats'])
        return dict(loss_kd=self.loss_kd(cls_score, outputs['cls_score']))
