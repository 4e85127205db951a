"""Multi-step learning rates with own milestones for parts of a model."""

from typing import Any

from mmengine.optim import MultiStepLR

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.errors import InputError

__all__ = ['PartMultiStepLR']


@PARAM_SCHEDULERS.register_module()
class PartMultiStepLR(MultiStepLR):
    """MMEngine's ``MultiStepLR`` with own milestones for parts of the model.

    Set them in ``paramwise_cfg``::

        optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'neck.head': dict(milestones=[23])}))

    Args:
        *args: See ``MultiStepLR``; ``milestones`` are for all other parts.
        **kwargs: See ``MultiStepLR``.
    """

    def _get_value(self) -> list[float]:
        own = [list(group.get('milestones', self.milestones.elements())) for group in self.optimizer.param_groups]
        return [
            group[self.param_name] * self.gamma ** milestones.count(self.last_step)
            for group, milestones in zip(self.optimizer.param_groups, own)
        ]

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, **kwargs: Any) -> None:
        raise InputError('PartMultiStepLR does not support `convert_to_iter_based`.')
