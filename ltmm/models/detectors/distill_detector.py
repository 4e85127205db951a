"""Base class for detectors distilled from a frozen teacher on the head classes."""

import copy
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from torch import Tensor

from ltmm.models.state.teacher import TeacherMixin
from ltmm.registry import MODELS

__all__ = ['DistillDetectorMixin']


class DistillDetectorMixin(TeacherMixin):
    r"""Mixin for mmdet's detectors that keep what a frozen teacher knows about the head classes.

    .. math:: L = L_\mathrm{detection} + L_\mathrm{kd} + L_\mathrm{feature}

    with :class:`~ltmm.models.losses.QuerySharedKDLoss` on the classifier and
    :class:`~ltmm.models.losses.MaskedFeatureLoss` on the features of the neck. The teacher is a trained detector of the
    same architecture.

    A subclass sets ``detector``, the class of mmdet it derives from, and defines :meth:`kd_losses`.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``models/deformable_detr_local1.py``. Here the
        teacher is in evaluation mode; in [1] its dropout stays on.

    Args:
        *args: Of the detector.
        teacher_checkpoint: Weights of the teacher.
        loss_kd: Config of the loss on the classifier.
        loss_feature: Config of the loss on the features.
        **kwargs: Of the detector.
    """

    detector: type[BaseDetector]

    def __init__(self, *args: Any, teacher_checkpoint: str, loss_kd: dict, loss_feature: dict, **kwargs: Any) -> None:
        teacher_args, teacher_kwargs = copy.deepcopy((args, kwargs))  # mmdet writes into its configs
        super().__init__(*args, **kwargs)
        self.loss_kd, self.loss_feature = MODELS.build(loss_kd), MODELS.build(loss_feature)
        self.init_teachers([self.detector(*teacher_args, **teacher_kwargs)], [teacher_checkpoint])
        self._features: tuple[Tensor, ...] | None = None

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of the classifier on the teacher's queries or proposals.

        Args:
            teacher_features: Of the teacher's neck, (B, D, H, W) per level.
            batch_data_samples: Annotations of the B images.
        """
        raise NotImplementedError(f'{type(self).__name__} must define kd_losses(teacher_features, batch_data_samples).')

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the features of the neck, (B, D, H, W) per level; keep them for :meth:`loss` in training."""
        features = super().extract_feat(batch_inputs)
        if self.training:
            self._features = features
        return features

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of the detector, ``loss_kd`` and ``loss_feature``."""
        with torch.no_grad():
            teacher_features = self.teacher.extract_feat(batch_inputs)
        losses = super().loss(batch_inputs, batch_data_samples)
        features, self._features = self._features, None
        height, width = batch_inputs.shape[-2:]
        instances = [sample.gt_instances for sample in batch_data_samples]
        boxes = [i.bboxes / i.bboxes.new_tensor([width, height, width, height]) for i in instances]
        losses['loss_feature'] = self.loss_feature(features, teacher_features, boxes, [i.labels for i in instances])
        return losses | self.kd_losses(teacher_features, batch_data_samples)
