"""Pass the metrics of a validation on to the model."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ltmm.models.state.metrics import UsesMetrics
from ltmm.registry import HOOKS
from ltmm.utils.wrappers import unwrap_model

__all__ = ['MetricsHook']


@HOOKS.register_module()
class MetricsHook(Hook):
    """Calls ``on_metrics`` of all modules derived from :class:`UsesMetrics`, after every validation."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for module in unwrap_model(runner.model).modules():
            if isinstance(module, UsesMetrics):
                module.on_metrics(metrics)
