"""Pass the metrics of a validation on to the model."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ltmm.models.state.metrics import UsesMetrics
from ltmm.registry import HOOKS
from ltmm.utils.errors import MissingInputError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['MetricsHook']


@HOOKS.register_module()
class MetricsHook(Hook):
    """Calls ``on_metrics`` of all modules derived from :class:`UsesMetrics`, after every validation.

    A checkpoint is written before the validation of its epoch, so a resumed training repeats this validation first.
    """

    priority = 'LOWEST'  # after all hooks that prepare a training

    def before_train(self, runner: Runner) -> None:
        """Repeat the validation after the epoch or iteration of the resumed checkpoint."""
        modules = _modules(runner)
        if modules and runner.val_loop is None:
            raise MissingInputError(
                f'{type(modules[0]).__name__} adapts to the validation, but there is none: set val_dataloader, '
                'val_evaluator and val_cfg.'
            )
        if not modules or not runner._resume:
            return
        loop = runner.train_loop
        done = runner.epoch if isinstance(loop, EpochBasedTrainLoop) else runner.iter
        if done >= loop.val_begin and done % loop.val_interval == 0:
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for module in _modules(runner):
            module.on_metrics(metrics)


def _modules(runner: Runner) -> list[UsesMetrics]:
    return [module for module in unwrap_model(runner.model).modules() if isinstance(module, UsesMetrics)]
