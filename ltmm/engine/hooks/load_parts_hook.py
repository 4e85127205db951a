"""Load only some parts of a checkpoint."""

from collections.abc import Mapping, Sequence

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
        rename: Further modules to load, from their name in the checkpoint to that in the model, such as
            ``{'head.fc': 'head.fc.hallucinator'}`` in OLTR.
    """

    priority = 'HIGH'  # before CheckpointCompatibilityHook

    def __init__(self, prefixes: Sequence[str], rename: Mapping[str, str] | None = None) -> None:
        if isinstance(prefixes, str) or not prefixes:
            raise InputError(f'Expected `prefixes` to be a list of names, but got {prefixes!r}.')
        self.new_names = {prefix: prefix for prefix in prefixes} | dict(rename or {})

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remove the other parts from the checkpoint."""
        if runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        state = checkpoint.get('state_dict', checkpoint)
        tensors = {name.removeprefix('module.'): state.pop(name) for name in list(state)}
        for part, new_name in self.new_names.items():
            loaded = {new_name + n.removeprefix(part): x for n, x in tensors.items() if n.startswith(part + '.')}
            if not loaded:
                parts = ', '.join(sorted({name.split('.')[0] for name in tensors}))
                raise InputError(f'LoadPartsHook: the checkpoint has no {part!r}, but {parts}.')
            state.update(loaded)
        left_out = len(tensors) - len(state)
        runner.logger.info(f'Loaded {", ".join(self.new_names)}; left out {left_out} tensors of the checkpoint.')
