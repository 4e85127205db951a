"""A classifier that learns from a trained one."""

from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from ltmm.models.losses.objective import Objective
from ltmm.models.state.teacher import HasTeacher
from ltmm.registry import MODELS

__all__ = ['DistillClassifier']


@MODELS.register_module()
class DistillClassifier(HasTeacher, ImageClassifier):
    """Hands the logits of a frozen teacher to the loss, as ``teacher_logits``, (N, C).

    The teacher stays in evaluation mode and gets no gradient. It is no part of the state dict: a test needs the
    student's checkpoint alone. Its weights are read when the training starts.

    Args:
        *args: of mmpretrain's ``ImageClassifier``.
        teacher: config file of the teacher, or its model as a dictionary.
        teacher_checkpoint: its checkpoint.
        **kwargs: of mmpretrain's ``ImageClassifier``.

    Raises:
        ValueError: a teacher for another number of classes; when the training starts, a checkpoint that lacks some of
            the teacher's weights.
        TypeError: a loss that does not learn from a teacher.
        FileNotFoundError: no such config; when the training starts, no such checkpoint.
    """

    def __init__(self, *args: Any, teacher: str | dict, teacher_checkpoint: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        objectives = [module for module in self.head.modules() if isinstance(module, Objective)]
        if not any('teacher_logits' in objective.requires for objective in objectives):
            raise TypeError(
                f'DistillClassifier needs a loss that learns from a teacher, such as ltmm.RIDEDistillLoss, but got '
                f'{type(self.head.loss_module).__name__}.'
            )
        cfg = Config.fromfile(teacher).model if isinstance(teacher, str) else teacher
        self.init_teacher(MMPRETRAIN_MODELS.build(cfg), teacher_checkpoint)
        expected, got = self.head.num_classes, self.teacher.head.num_classes
        if expected != got:
            raise ValueError(
                f'DistillClassifier: expected a teacher of {expected} classes like the student, but it has {got}.'
            )

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The losses of the student.

        Args:
            inputs: (N, C, H, W).
            data_samples: labels of the N images.

        Raises:
            RuntimeError: the weights of the teacher were never read.
        """
        self.check_teacher_is_trained()
        with torch.no_grad():
            teacher_logits = self.teacher(inputs)
        return self.head.loss(self.extract_feat(inputs), data_samples, teacher_logits=teacher_logits)
