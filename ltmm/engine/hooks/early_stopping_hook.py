"""Early stopping that a test does not disturb and a resumed run continues."""

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.runner import Runner

from ltmm.registry import HOOKS

__all__ = ['EarlyStoppingHook']

KEY = 'early_stopping'  # in the message hub


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """MMEngine's EarlyStoppingHook for configs that are tested too.

    MMEngine's builds the training set in a test, and forgets the best score and how long it stands when a run is
    resumed; a checkpoint of this one holds both, as of the validation before it was written.

    Args:
        *args: See :class:`mmengine.hooks.EarlyStoppingHook`.
        **kwargs: See :class:`mmengine.hooks.EarlyStoppingHook`.
    """

    def before_run(self, runner: Runner) -> None:
        """Leave the training loop as it is; MMEngine's would build it."""

    def before_train(self, runner: Runner) -> None:
        """Take over the state of a resumed run."""
        if runner._resume and KEY in runner.message_hub.runtime_info:
            self.best_score, self.wait_count = runner.message_hub.get_info(KEY)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Compare the monitored figure with the best one."""
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info(KEY, [float(self.best_score), int(self.wait_count)])
