"""Raise an error for a checkpoint of another model or number of classes."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.models.backbones import VisionTransformer
from torch import nn

from ltmm.models.layers.per_expert import single_name
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.pretrained import refuse_unmatched_pretrained
from ltmm.utils.wrappers import unwrap_model

__all__ = ['CheckpointCompatibilityHook', 'refuse_missing_parameters']


@HOOKS.register_module()
class CheckpointCompatibilityHook(Hook):
    """Compares a checkpoint with the model into which it is loaded.

    MMEngine loads the parameters that fit and only logs the others, so a test could report the accuracy of random
    weights. For a test, for validation without training and for a resumed training, different shapes, NaN and missing
    parameters are errors. For ``load_from`` in training, different shapes are a warning. Empty buffers take their size
    from the checkpoint; a ViT resizes its position embedding. A ``Pretrained`` checkpoint of ``init_cfg`` that holds no
    parameter of its module is an error. Parameters with a prefix in ``replaces`` of another hook may be missing.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []

    def before_run(self, runner: Runner) -> None:
        """Watch the pretrained weights that the initialization of a training loads."""
        if not _is_test(runner):
            refuse_unmatched_pretrained(unwrap_model(runner.model))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes before the weights are copied."""
        model = unwrap_model(runner.model)
        loaded = checkpoint.get('state_dict', checkpoint)
        loaded = {name.removeprefix('module.'): tensor for name, tensor in loaded.items()}
        own = {
            name if name in loaded else single_name(name): tensor
            for name, tensor in model.state_dict().items()
            if tensor.numel() and '.class_distribution.' not in f'.{name}'
        }
        must_fit = runner._resume or _is_test(runner)
        if must_fit:
            _check_finite([name for name, _ in model.named_parameters()], loaded)
        if not own.keys() & loaded.keys():
            raise InputError('Expected a checkpoint of this model, but it has none of its parameters.')
        resized = {f'{n}.pos_embed' for n, module in model.named_modules() if isinstance(module, VisionTransformer)}
        compared = [name for name in own if name in loaded and name not in resized]
        differing = [name for name in compared if own[name].shape != loaded[name].shape]
        if differing:
            rows = '; '.join(
                f'{name}: model {tuple(own[name].shape)}, checkpoint {tuple(loaded[name].shape)}'
                for name in differing[:3]
            )
            message = (
                f'{len(differing)} tensors of the checkpoint differ in shape from the model ({rows}). '
                'Was it trained with other classes, or another network?'
            )
            if must_fit:
                raise InputError(message)
            runner.logger.warning(message + ' They keep their initial values.')
        self._record_missing(model)

    def before_train(self, runner: Runner) -> None:
        """Check for missing parameters in a resumed training."""
        if runner._resume:
            self.check_missing(runner)

    def before_val(self, runner: Runner) -> None:
        """Check for missing parameters in validation without training."""
        if _is_test(runner):
            self.check_missing(runner)

    before_test = before_val

    def _record_missing(self, model: nn.Module) -> None:
        """Record missing parameters after modules have renamed those of the checkpoint."""

        def record(module: nn.Module, keys: tuple[list[str], list[str]]) -> None:
            handle.remove()
            parameters = dict(model.named_parameters())
            self.missing = [name for name in keys[0] if name in parameters]

        handle = model.register_load_state_dict_post_hook(record)

    def check_missing(self, runner: Runner, replaced: Sequence[str] = ()) -> None:
        """Raise an error if parameters are missing.

        Args:
            runner: The runner.
            replaced: Prefixes of parameters that may be missing.
        """
        replaced = (*replaced, *(prefix for hook in runner.hooks for prefix in getattr(hook, 'replaces', ())))
        missing = [name for name in self.missing if not name.startswith(replaced)]
        if missing:
            total = len(list(unwrap_model(runner.model).parameters()))
            raise InputError(
                f'Expected a checkpoint of this model, but it lacks {len(missing)} of {total} parameters '
                f'({", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}). Was it trained with another config?'
            )


def refuse_missing_parameters(runner: Runner, replaced: Sequence[str] = ()) -> None:
    """Raise an error if the loaded checkpoint lacks parameters, for tools that do not run a test loop.

    Args:
        runner: A runner with a :class:`CheckpointCompatibilityHook`; without the hook nothing is checked.
        replaced: Prefixes of parameters that may be missing.
    """
    for hook in runner.hooks:
        if isinstance(hook, CheckpointCompatibilityHook):
            hook.check_missing(runner, replaced)


def _check_finite(names: Sequence[str], loaded: dict) -> None:
    broken = [name for name in names if name in loaded and not loaded[name].isfinite().all()]
    if broken:
        raise InputError(
            f'Expected finite weights, but {len(broken)} of {len(names)} parameters in the checkpoint have NaN or '
            f'infinite values, {broken[0]} first. Has the training diverged?'
        )


def _is_test(runner: Runner) -> bool:
    return not isinstance(runner._train_loop, BaseLoop)
