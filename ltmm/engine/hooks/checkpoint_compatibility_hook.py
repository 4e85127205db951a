"""A checkpoint of another model or number of classes is an error, not a part left at its random start."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ltmm.models.layers.per_expert import single_name
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['CheckpointCompatibilityHook', 'refuse_missing_parameters']


@HOOKS.register_module()
class CheckpointCompatibilityHook(Hook):
    """Compares a checkpoint with the model that it is loaded into.

    MMEngine loads what fits and only logs the rest, so a test with the checkpoint of another data set or model would
    report the accuracy of random weights. For a test, or a validation without training, and for a resumed training
    every difference in shape and every parameter that the checkpoint lacks is an error; for ``load_from`` before
    training, where a new head on old features is meant, another shape is a warning. Buffers that are empty take their
    size from the checkpoint. Parameters that a test has no need of, by the ``replaces`` of another hook (prefixes of
    their names), may be missing.

    Raises:
        InputError: lists the first layers that differ, with both shapes, or that are missing, or hold NaN.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the shapes, before the weights are copied, and see then which are missing."""
        model = unwrap_model(runner.model)
        own = {name: tensor for name, tensor in model.state_dict().items() if '.class_distribution.' not in f'.{name}'}
        own = {name: tensor for name, tensor in own.items() if tensor.numel()}
        loaded = checkpoint.get('state_dict', checkpoint)
        loaded = {name.removeprefix('module.'): tensor for name, tensor in loaded.items()}
        own = {name if name in loaded else single_name(name): tensor for name, tensor in own.items()}
        differing = [name for name in own if name in loaded and own[name].shape != loaded[name].shape]
        is_to_fit = runner._resume or _is_test(runner)
        if is_to_fit:
            _refuse_broken([name for name, _ in model.named_parameters()], loaded)
        if not own.keys() & loaded.keys():
            raise InputError('Expected a checkpoint of this model, but none of its parameters is in the file.')
        if differing:
            rows = '; '.join(
                f'{name}: model {tuple(own[name].shape)}, checkpoint {tuple(loaded[name].shape)}'
                for name in differing[:3]
            )
            message = (
                f'The checkpoint does not fit the model: {len(differing)} tensors differ in shape ({rows}). '
                'Was it trained with another number of classes?'
            )
            if is_to_fit:
                raise InputError(message)
            runner.logger.warning(message + ' These keep their initial values.')
        self._see_missing(model)

    def before_train(self, runner: Runner) -> None:
        """A training that goes on needs all parameters."""
        if runner._resume:
            self._refuse_missing(runner)

    def before_val(self, runner: Runner) -> None:
        """So does a validation without training."""
        if _is_test(runner):
            self._refuse_missing(runner)

    def before_test(self, runner: Runner) -> None:
        """And a test."""
        if _is_test(runner):
            self._refuse_missing(runner)

    def _see_missing(self, model: nn.Module) -> None:
        """Note which parameters are missing once modules have renamed those of the checkpoint."""

        def note(module: nn.Module, keys: tuple[list[str], list[str]]) -> None:
            handle.remove()
            parameters = dict(model.named_parameters())
            self.missing = [name for name in keys[0] if name in parameters]

        handle = model.register_load_state_dict_post_hook(note)

    def _refuse_missing(self, runner: Runner, replaced: Sequence[str] = ()) -> None:
        replaced = (*replaced, *(prefix for hook in runner.hooks for prefix in getattr(hook, 'replaces', ())))
        missing = [name for name in self.missing if not name.startswith(replaced)]
        if missing:
            total = len(list(unwrap_model(runner.model).parameters()))
            raise InputError(
                f'Expected a checkpoint of this model, but it lacks {len(missing)} of its {total} parameters '
                f'({", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}). Is it of another config?'
            )


def refuse_missing_parameters(runner: Runner, replaced: Sequence[str] = ()) -> None:
    """Refuse the checkpoint that a runner has loaded if it lacks parameters, for tools that test in a way of their own.

    Args:
        runner: with a :class:`CheckpointCompatibilityHook`; nothing is known without.
        replaced: prefixes of parameters that the tool does not need.

    Raises:
        InputError: lists the first of them.
    """
    for hook in runner.hooks:
        if isinstance(hook, CheckpointCompatibilityHook):
            hook._refuse_missing(runner, replaced)


def _refuse_broken(names: Sequence[str], loaded: dict) -> None:
    broken = [name for name in names if name in loaded and not loaded[name].isfinite().all()]
    if broken:
        raise InputError(
            f'The checkpoint has NaN or infinite numbers in {len(broken)} of its {len(names)} parameters, '
            f'{broken[0]} first: its training has diverged.'
        )


def _is_test(runner: Runner) -> bool:
    return not isinstance(runner._train_loop, BaseLoop)
