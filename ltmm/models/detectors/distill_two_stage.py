"""Faster R-CNN and Mask R-CNN distilled from a frozen teacher."""

from typing import Any

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputTypeError

from .distill_detector import DistillDetectorMixin

__all__ = ['DistillTwoStageDetector']


@MODELS.register_module()
class DistillTwoStageDetector(DistillDetectorMixin, TwoStageDetector):
    """Faster R-CNN or Mask R-CNN that keeps what a frozen teacher knows about the head classes.

    Teacher and student classify the teacher's features of the teacher's proposals, which replace the queries of the
    paper. See :class:`~ltmm.models.detectors.distill_detector.DistillDetectorMixin` for the arguments.
    """

    detector = TwoStageDetector

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.roi_head.bbox_head, nn.ModuleList):
            raise InputTypeError(
                f'DistillTwoStageDetector needs a RoI head with one box head, as Faster R-CNN and Mask R-CNN have, '
                f'but got {type(self.roi_head).__name__} with {len(self.roi_head.bbox_head)}.'
            )

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        with torch.no_grad():
            proposals = self.teacher.rpn_head.predict(teacher_features, batch_data_samples, rescale=False)
            rois = bbox2roi([proposal.bboxes for proposal in proposals])  # (N, 5)
            outputs = self.teacher.roi_head._bbox_forward(teacher_features, rois)
        cls_score, _ = self.roi_head.bbox_head(outputs['bbox_feats'])
        return dict(loss_kd=self.loss_kd(cls_score, outputs['cls_score']))
