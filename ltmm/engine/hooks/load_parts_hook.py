"""Take only parts of a checkpoint into a training."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from ltmm.registry import HOOKS

__all__ = ['LoadPartsHook']


@HOOKS.register_module()
class LoadPartsHook(Hook):
    """Takes the named parts of the ``load_from`` checkpoint of a training; the rest starts from its initialisation.

    A resumed training and a test load everything.

    Args:
        prefixes: parts to take, ``'backbone'`` for the features of cRT.

    Raises:
        ValueError: a part that the checkpoint does not have.
    """

    priority = 'HIGH'  # before the shapes are compared

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str) or not prefixes:
            raise ValueError(f'Expected `prefixes` to be a list of names, but got {prefixes!r}.')
        self.prefixes = tuple(prefixes)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Drop the other parts before the weights are copied."""
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        state = checkpoint.get('state_dict', checkpoint)
        names = {name: name.removeprefix('module.') for name in state}
        for prefix in self.prefixes:
            if not any(name.startswith(prefix + '.') for name in names.values()):
                parts = sorted({name.split('.')[0] for name in names.values()})
                raise ValueError(
                    f'LoadPartsHook: expected the checkpoint to have {prefix!r}, but it has {", ".join(parts)}.'
                )
        starts = tuple(prefix + '.' for prefix in self.prefixes)
        dropped = [name for name, plain in names.items() if not plain.startswith(starts)]
        for name in dropped:
            del state[name]
        runner.logger.info(f'Taken from the checkpoint: {", ".join(self.prefixes)}; {len(dropped)} tensors are not.')
