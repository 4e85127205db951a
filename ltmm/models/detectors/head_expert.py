"""What the detectors share that learn the tail under the eyes of a frozen head expert."""

import copy
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import SampleList
from torch import Tensor

from ltmm.models.state.teacher import HasTeacher
from ltmm.registry import MODELS

__all__ = ['LearnsFromHeadExpert']


class LearnsFromHeadExpert(HasTeacher):
    r"""Mixin of mmdet's detectors: the detection loss, and what keeps the head classes as a frozen expert knows them.

    .. math:: L = L_\mathrm{detection} + L_\mathrm{kd} + L_\mathrm{feature}

    with :class:`~ltmm.models.losses.QuerySharedKDLoss` on the classifier and
    :class:`~ltmm.models.losses.MaskedFeatureLoss` on the features the neck gives. The expert is a detector of the same
    architecture, trained before.

    A subclass names the ``plain`` detector it derives from, which the expert is, and writes :meth:`kd_losses`.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``models/deformable_detr_local1.py``. The expert
        is in evaluation mode, where [1] leaves its dropout on.

    Args:
        *args: of the plain detector.
        teacher_checkpoint: of the expert.
        loss_kd: config of the loss on the classifier.
        loss_feature: config of the loss on the features.
        **kwargs: of the plain detector.

    Raises:
        FileNotFoundError: when the training starts, no such checkpoint.
        ValueError: when the training starts, a checkpoint that lacks some of the expert's weights.
    """

    plain: type[BaseDetector]

    def __init__(self, *args: Any, teacher_checkpoint: str, loss_kd: dict, loss_feature: dict, **kwargs: Any) -> None:
        args_of_expert, kwargs_of_expert = copy.deepcopy((args, kwargs))  # mmdet writes into its configs
        super().__init__(*args, **kwargs)
        self.loss_kd, self.loss_feature = MODELS.build(loss_kd), MODELS.build(loss_feature)
        self.init_teacher(self.plain(*args_of_expert, **kwargs_of_expert), teacher_checkpoint)
        self._features: tuple[Tensor, ...] | None = None

    def kd_losses(self, teacher_features: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of the classifier on the expert's queries or proposals.

        Args:
            teacher_features: of the expert's neck, one (B, D, H, W) a level.
            batch_data_samples: of the B images.
        """
        raise NotImplementedError(f'{type(self).__name__} must define kd_losses(teacher_features, batch_data_samples).')

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the neck, one (B, D, H, W) a level; in training they are put aside for :meth:`loss`."""
        features = super().extract_feat(batch_inputs)
        if self.training:
            self._features = features
        return features

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """The losses of the plain detector, ``loss_kd`` and ``loss_feature``.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: boxes and labels of the B images.

        Raises:
            RuntimeError: the weights of the expert were never read, or no class distribution has arrived.
        """
        self.check_teacher_is_trained()
        losses = super().loss(batch_inputs, batch_data_samples)
        features, self._features = self._features, None
        with torch.no_grad():
            teacher_features = self.teacher.extract_feat(batch_inputs)
        height, width = batch_inputs.shape[-2:]
        instances = [sample.gt_instances for sample in batch_data_samples]
        boxes = [i.bboxes / i.bboxes.new_tensor([width, height, width, height]) for i in instances]
        losses['loss_feature'] = self.loss_feature(features, teacher_features, boxes, [i.labels for i in instances])
        return losses | self.kd_losses(teacher_features, batch_data_samples)
