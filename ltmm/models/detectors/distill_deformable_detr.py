"""Deformable DETR distilled from a frozen teacher."""

import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.structures import SampleList
from torch import Tensor

from ltmm.registry import MODELS

from .distill_detector import DistillDetectorMixin

__all__ = ['DistillDeformableDETR']


@MODELS.register_module()
class DistillDeformableDETR(DistillDetectorMixin, DeformableDETR):
    """Deformable DETR that keeps what a frozen teacher knows about the head classes.

    In every decoder layer, teacher and student classify the teacher's hidden states. See
    :class:`~ltmm.models.detectors.distill_detector.DistillDetectorMixin` for the arguments.
    """

    detector = DeformableDETR

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return ``loss_kd`` of the last decoder layer and ``d0.loss_kd`` ... of the others."""
        with torch.no_grad():
            hidden_states = self.teacher.forward_transformer(teacher_features, batch_data_samples)['hidden_states']
        names = [f'd{layer}.loss_kd' for layer in range(len(hidden_states) - 1)] + ['loss_kd']
        losses = {}
        for name, states, branch, teacher_branch in zip(  # states: (B, Q, D)
            names, hidden_states, self.bbox_head.cls_branches, self.teacher.bbox_head.cls_branches
        ):
            with torch.no_grad():
                teacher_cls_score = teacher_branch(states)  # (B, Q, C)
            losses[name] = self.loss_kd(branch(states), teacher_cls_score)
        return losses
