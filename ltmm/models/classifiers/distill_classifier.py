"""Classifiers distilled from trained ones."""

from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from ltmm.models.losses.objective import Objective
from ltmm.models.state.teacher import TeacherMixin
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.references import count_classes, resolve_references

__all__ = ['DistillClassifier', 'LearnsFromTeachers']


class LearnsFromTeachers(TeacherMixin, ImageClassifier):
    """Base class of classifiers that pass logits of frozen teachers to their loss, as ``teacher_logits``.

    A subclass writes :meth:`teacher_logits`.
    """

    def teacher_logits(self, inputs: Tensor) -> Tensor:
        """Return logits (N, C) of the teachers for images (N, 3, H, W)."""
        raise NotImplementedError(f'{type(self).__name__} must define teacher_logits(inputs).')

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        with torch.no_grad():
            teacher_logits = self.teacher_logits(inputs)
        return self.head.loss(self.extract_feat(inputs), data_samples, teacher_logits=teacher_logits)


@MODELS.register_module()
class DistillClassifier(LearnsFromTeachers):
    """Classifier that passes the logits of a frozen teacher to its loss, as ``teacher_logits``, (N, C).

    See :class:`~ltmm.models.state.TeacherMixin` for how it keeps the teacher.

    Args:
        *args: Of mmpretrain's ``ImageClassifier``.
        teacher: Config file of the teacher, or the config of its model.
        teacher_checkpoint: Trained weights of the teacher.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, *args: Any, teacher: str | dict, teacher_checkpoint: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        objectives = [module for module in self.head.modules() if isinstance(module, Objective)]
        if not any('teacher_logits' in objective.requires for objective in objectives):
            raise InputTypeError(
                f'DistillClassifier needs a loss that learns from a teacher, such as ltmm.RIDEDistillLoss, but got '
                f'{type(self.head.loss_module).__name__}.'
            )
        if isinstance(teacher, str):
            cfg = Config.fromfile(teacher)
            count_classes(cfg)
            resolve_references(cfg)
            teacher = cfg.model
        network = MMPRETRAIN_MODELS.build(teacher)
        expected, got = self.head.num_classes, network.head.num_classes
        if expected != got:
            raise InputError(f'Expected a teacher with {expected} classes like the student, but it has {got}.')
        self.init_teachers([network], [teacher_checkpoint])

    def teacher_logits(self, inputs: Tensor) -> Tensor:
        return self.teacher(inputs)
