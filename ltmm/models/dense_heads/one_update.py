"""Heads that call their loss several times an iteration, and a loss that has to take these calls as one."""

from typing import Any

__all__ = ['OneUpdateAnIteration']


class OneUpdateAnIteration:
    """Mixin of mmdet's dense and DETR heads: levels or decoder layers are one update of what the loss gathers."""

    def loss_by_feat(self, *args: Any, **kwargs: Any) -> dict:
        """mmdet's losses of all levels or layers."""
        if not hasattr(self.loss_cls, 'one_update'):
            return super().loss_by_feat(*args, **kwargs)
        with self.loss_cls.one_update():
            return super().loss_by_feat(*args, **kwargs)
