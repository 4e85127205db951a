"""Load only some parts of a checkpoint."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError

__all__ = ['LoadPartsHook']


@HOOKS.register_module()
class LoadPartsHook(Hook):
    """Loads only some parts of the ``load_from`` checkpoint into training; a resumed run and a test load all of it.

    Args:
        prefixes: Modules to load, such as ``'backbone'`` for the features in cRT.
    """

    priority = 'HIGH'  # before CheckpointCompatibilityHook

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str) or not prefixes:
            raise InputError(f'Expected `prefixes` to be a list of names, but got {prefixes!r}.')
        self.prefixes = tuple(prefixes)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remove the other parts from the checkpoint."""
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        state = checkpoint.get('state_dict', checkpoint)
        names = {name: name.removeprefix('module.') for name in state}
        for prefix in self.prefixes:
            if not any(name.startswith(prefix + '.') for name in names.values()):
                parts = sorted({name.split('.')[0] for name in names.values()})
                raise InputError(f'LoadPartsHook: the checkpoint has no {prefix!r}, but {", ".join(parts)}.')
        dropped = [n for n, plain in names.items() if not plain.startswith(tuple(p + '.' for p in self.prefixes))]
        for name in dropped:
            del state[name]
        runner.logger.info(f'Loaded {", ".join(self.prefixes)}; left out {len(dropped)} tensors of the checkpoint.')
