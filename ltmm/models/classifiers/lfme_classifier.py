"""Classifier that learns from experts of the many-, medium- and few-shot classes."""

import copy
from collections.abc import Mapping
from typing import Any

from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.class_distribution import SHOT_NAMES
from ltmm.models.losses.distillation.lfme_loss import LFMELoss
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

from .distill_classifier import LearnsFromTeachers

__all__ = ['LFMEClassifier']

KEYS = {'num_classes', 'checkpoint'}


@MODELS.register_module()
class LFMEClassifier(LearnsFromTeachers):
    """Classifier with frozen experts, one for each group of classes, whose logits it passes to :class:`LFMELoss`.

    Each expert has the network of the classifier, with the classes of :class:`ltmm.datasets.ClassSubset`. In a
    validation while training, the data samples also hold ``teacher_group`` (0 many-, 1 medium-, 2 few-shot) of the true
    class and whether its expert ``teacher_is_right``, for ``ltmm.TeacherMetric``. See
    :class:`~ltmm.models.state.TeacherMixin` for how it keeps the experts.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck.
        head: Config of the head, with ``loss=dict(type='ltmm.LFMELoss')``.
        teachers: ``{group: dict(num_classes=..., checkpoint=...)}`` for ``'many'``, ``'medium'`` and ``'few'``; without
            a group that has no classes.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(
        self, backbone: dict, neck: dict | None = None, head: dict | None = None, *, teachers: Mapping, **kwargs: Any
    ) -> None:
        cfg = copy.deepcopy(dict(backbone=backbone, neck=neck, head=head))
        super().__init__(backbone, neck, head, **kwargs)
        losses = [module for module in self.head.modules() if isinstance(module, LFMELoss)]
        if len(losses) != 1:
            raise InputTypeError(f'LFMEClassifier needs one ltmm.LFMELoss in its head, but got {len(losses)}.')
        if not isinstance(teachers, Mapping) or not all(
            group in SHOT_NAMES and set(teacher) == KEYS for group, teacher in teachers.items()
        ):
            raise InputError(
                'Expected `teachers` to be {group: dict(num_classes=..., checkpoint=...)} of the groups '
                f'{SHOT_NAMES}, but got {teachers}.'
            )
        self.groups = tuple(teachers)
        changes = dict(loss=dict(type='CrossEntropyLoss'), aux_losses=(), class_counts=None)
        networks = []
        for teacher in teachers.values():
            expert = copy.deepcopy(cfg)
            expert['head'] = {**expert['head'], **changes, 'num_classes': teacher['num_classes']}
            networks.append(ImageClassifier(**expert))
        self.init_teachers(networks, [teacher['checkpoint'] for teacher in teachers.values()])

    @property
    def objective(self) -> LFMELoss:
        """The loss, which knows the classes of each expert."""
        return next(module for module in self.head.modules() if isinstance(module, LFMELoss))

    def teacher_logits(self, inputs: Tensor) -> Tensor:
        return self.objective.join({group: teacher(inputs) for group, teacher in zip(self.groups, self.teachers)})

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any) -> list[DataSample]:
        """Return the predictions, while training also those of the experts."""
        predictions = super().predict(inputs, data_samples, **kwargs)
        if self.has_trained_teachers and data_samples is not None:
            label = self.head.labels_of(data_samples)
            is_right = self.objective.own_logits(self.teacher_logits(inputs), label).argmax(1) == label
            for sample, group, right in zip(predictions, self.objective.group[label], is_right):
                sample.set_field(group, 'teacher_group')
                sample.set_field(right, 'teacher_is_right')
        return predictions
