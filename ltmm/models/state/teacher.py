"""How a model holds a trained one to learn from, which is no part of itself."""

from typing import Any

from torch import nn

__all__ = ['HasTeacher']


class HasTeacher:
    """Mixin of a model that learns from a frozen one.

    The teacher stays in evaluation mode and gets no gradient. It is no part of the state dict: a test needs the
    student's checkpoint alone. Its weights are read when the training starts.
    """

    def init_teacher(self, teacher: nn.Module, checkpoint: str) -> None:
        """To be called in ``__init__``, after that of the model.

        Args:
            teacher: the model; kept where neither state dict nor optimizer nor DDP looks.
            checkpoint: where :meth:`init_weights` finds its weights.
        """
        self.__dict__['teacher'] = teacher.requires_grad_(False).eval()
        self.teacher_checkpoint = checkpoint
        self._teacher_is_trained = False

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Take the teacher along to another device or precision."""
        self.teacher._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def init_weights(self) -> None:
        """Initialise the student and read the weights of the teacher.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: it lacks some of the teacher's weights, or has them in other shapes.
        """
        from mmengine.runner import load_checkpoint  # slow to import, and not needed by a loss

        super().init_weights()
        loaded = load_checkpoint(self.teacher, self.teacher_checkpoint, map_location='cpu')
        loaded = {name.removeprefix('module.'): tensor for name, tensor in loaded.get('state_dict', loaded).items()}
        own = dict(self.teacher.named_parameters())
        missing = [name for name in own if name not in loaded]
        if missing:
            raise ValueError(
                f'Expected a checkpoint of the teacher, but {len(missing)} of its parameters, {missing[0]} first, are '
                f'not in {self.teacher_checkpoint}.'
            )
        differing = [name for name in own if own[name].shape != loaded[name].shape]
        if differing:
            name = differing[0]
            raise ValueError(
                f'Expected a checkpoint of the teacher, but {len(differing)} of its parameters have another shape in '
                f'{self.teacher_checkpoint}: {name} is {tuple(own[name].shape)} in the model and '
                f'{tuple(loaded[name].shape)} there.'
            )
        self._teacher_is_trained = True

    def check_teacher_is_trained(self) -> None:
        """Refuse to learn from a random start.

        Raises:
            RuntimeError: the weights of the teacher were never read.
        """
        if not self._teacher_is_trained:
            raise RuntimeError('The teacher has no trained weights: call init_weights(), as the Runner does.')
