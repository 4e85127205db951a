"""Deformable DETR that learns from a frozen one."""

import torch
from mmdet.models.detectors import DeformableDETR
from mmdet.structures import SampleList
from torch import Tensor

from ltmm.registry import MODELS

from .head_expert import LearnsFromHeadExpert

__all__ = ['DistillDeformableDETR']


@MODELS.register_module()
class DistillDeformableDETR(LearnsFromHeadExpert, DeformableDETR):
    """mmdet's Deformable DETR, which keeps to a frozen expert on the head classes while it learns the tail.

    Every layer's classifier sees what the expert's decoder makes of the expert's queries in that layer, and learns the
    expert's answer. See :class:`~ltmm.models.detectors.head_expert.LearnsFromHeadExpert` for arguments and errors.
    """

    plain = DeformableDETR

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """``loss_kd`` of the last decoder layer, ``d0.loss_kd`` ... of the others."""
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
