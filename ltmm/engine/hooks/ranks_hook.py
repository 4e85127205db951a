"""Check that a training does not depend on the number of its processes."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ltmm.models.losses.base import LogitLoss
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['RanksHook']


@HOOKS.register_module()
class RanksHook(Hook):
    """Refuses gradient accumulation that changes the objective, and warns of a resume at another number of processes.

    A checkpoint holds the number of processes and of images per iteration. Where the latter stays the same, samplers,
    iteration counters and schedules go on as they were, whatever the number of processes.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Refuse modules that need the whole batch under gradient accumulation."""
        count = accumulative_counts(runner)
        if count == 1:
            return
        for name, module in unwrap_model(runner.model).named_modules():
            if isinstance(module, NeedsWholeBatch) and module.needs_whole_batch:
                is_sum = isinstance(module, LogitLoss) and module.reduction == 'sum'
                reason = "adds up with reduction='sum'" if is_sum else 'needs the whole batch at once'
                raise InputError(
                    f'optim_wrapper.accumulative_counts={count} trains another objective: model.{name} '
                    f'({type(module).__name__}) {reason}. Use {count} times the processes, or a smaller batch'
                    f'{", or a mean as reduction." if is_sum else "."}'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the number of processes and of images per iteration."""
        checkpoint['meta'].update(world_size=get_world_size(), images_per_iteration=images_per_iteration(runner))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare them with those of the checkpoint to resume from."""
        if not runner._resume:  # a test, which has no training data, or a start from weights
            return
        meta, images = checkpoint.get('meta', {}), images_per_iteration(runner)
        before, images_before = meta.get('world_size'), meta.get('images_per_iteration')
        if before is None or (before, images_before) == (get_world_size(), images):
            return
        changed = f'The checkpoint was written by {before} process(es) with {images_before} images per iteration; '
        changed += f'this run has {get_world_size()} with {images}. '
        if images is not None and images == images_before:
            changed += 'Samples, iterations and schedules go on as before; random augmentations and dropout differ.'
        else:
            changed += (
                'Iterations, schedules and learning rate are those of the checkpoint. To go on as before choose '
                'train_dataloader.batch_size so that the images per iteration stay the same.'
            )
        runner.logger.warning(changed)


def accumulative_counts(runner: Runner) -> int:
    """Return the number of iterations per update of the weights."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return max(wrapper._accumulative_counts for wrapper in wrappers)


def images_per_iteration(runner: Runner) -> int | None:
    """Return the number of images per iteration, of all processes; None for batches of unknown size."""
    batch_size: Any = getattr(runner.train_dataloader.batch_sampler, 'batch_size', None)  # custom ones may have none
    return None if batch_size is None else batch_size * get_world_size()
