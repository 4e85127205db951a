"""A checkpoint for another number of classes is an error, not a head left at its random start."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from ltmm.models.layers.per_expert import single_name
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError

__all__ = ['CheckpointCompatibilityHook']


@HOOKS.register_module()
class CheckpointCompatibilityHook(Hook):
    """Compares the shapes of a checkpoint with those of the model before it is loaded.

    MMEngine loads what fits and only logs the rest, so a test with the checkpoint of another data set would report the
    accuracy of random weights. For a test or a resumed training every difference in shape is an error; for
    ``load_from`` before training, where a new head on old features is meant, it is a warning. Buffers that are empty
    take their size from the checkpoint.

    Raises:
        InputError: lists the first layers that differ, with both shapes.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, before the weights are copied."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        own = {name: tensor for name, tensor in model.state_dict().items() if '.class_distribution.' not in f'.{name}'}
        own = {name: tensor for name, tensor in own.items() if tensor.numel()}
        loaded = checkpoint.get('state_dict', checkpoint)
        loaded = {name.removeprefix('module.'): tensor for name, tensor in loaded.items()}
        own = {name if name in loaded else single_name(name): tensor for name, tensor in own.items()}
        differing = [name for name in own if name in loaded and own[name].shape != loaded[name].shape]
        is_test = not isinstance(runner._train_loop, BaseLoop)
        if not own.keys() & loaded.keys():
            raise InputError('Expected a checkpoint of this model, but none of its parameters is in the file.')
        if not differing:
            return
        rows = '; '.join(
            f'{name}: model {tuple(own[name].shape)}, checkpoint {tuple(loaded[name].shape)}' for name in differing[:3]
        )
        message = (
            f'The checkpoint does not fit the model: {len(differing)} tensors differ in shape ({rows}). '
            'Was it trained with another number of classes?'
        )
        if is_test or runner._resume:
            raise InputError(message)
        runner.logger.warning(message + ' These keep their initial values.')
