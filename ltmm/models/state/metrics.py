"""Results of the validation, for methods that adapt to them."""

__all__ = ['UsesMetrics']


class UsesMetrics:
    """Mixin for modules that adapt to the results of the validation; called by :class:`ltmm.engine.MetricsHook`."""

    def on_metrics(self, figures: dict[str, float]) -> None:
        """Use the metrics of a validation, the same on all ranks.

        What has to survive a resume belongs in a buffer.

        Args:
            figures: As they are logged, such as ``{'accuracy/top1': 45.3}``.
        """
        raise NotImplementedError(f'{type(self).__name__} must define on_metrics(figures).')
