"""Frozen teachers of a model."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from ltmm.utils.checkpoints import load_whole
from ltmm.utils.errors import MissingInputError

__all__ = ['TeacherMixin']


class TeacherMixin:
    """Mixin for models that learn from one or several frozen teachers.

    Teachers stay in evaluation mode and get no gradient. They belong neither to the state dict nor to the optimizer or
    the DDP wrapper, so a test needs the student's checkpoint only. Put the mixin before the base class of the model.
    """

    def init_teachers(self, teachers: Sequence[nn.Module], checkpoints: Sequence[str]) -> None:
        """Set the teachers; call it in ``__init__``, after the model's own.

        Args:
            teachers: The networks.
            checkpoints: Their weights, read by :meth:`init_weights`.
        """
        self._teachers = [teacher.requires_grad_(False).eval() for teacher in teachers]  # a list hides them from torch
        self._teacher_checkpoints = list(checkpoints)
        self._teachers_are_loaded = False

    @property
    def teachers(self) -> list[nn.Module]:
        """The trained teachers.

        Raises:
            RuntimeError: Their weights have not been read.
        """
        if not self._teachers_are_loaded:
            name = type(self).__name__
            raise MissingInputError(f'{name}: the teacher has no trained weights yet. Call init_weights().')
        return self._teachers

    @property
    def has_trained_teachers(self) -> bool:
        """Whether the teachers have been loaded, as for training; a test needs none."""
        return self._teachers_are_loaded

    @property
    def teacher(self) -> nn.Module:
        """The only trained teacher."""
        (teacher,) = self.teachers
        return teacher

    def init_weights(self) -> None:
        """Initialize the student and read the weights of the teachers.

        Raises:
            FileNotFoundError: A checkpoint does not exist.
            ValueError: A checkpoint does not fit its teacher.
        """
        super().init_weights()
        for teacher, checkpoint in zip(self._teachers, self._teacher_checkpoints, strict=True):
            load_whole(teacher, checkpoint)
        self._teachers_are_loaded = True

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        for teacher in self._teachers:
            teacher._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)
