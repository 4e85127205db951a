"""Learning rates that fall at other epochs in each part of a model."""

from typing import Any

from mmengine.optim import MultiStepLR

from ltmm.registry import PARAM_SCHEDULERS

__all__ = ['PartMultiStepLR']


@PARAM_SCHEDULERS.register_module()
class PartMultiStepLR(MultiStepLR):
    """MMEngine's ``MultiStepLR``, in which parts of the model have milestones of their own.

    They are given where the learning rate of a part is::

        optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'neck.head': dict(milestones=[23])}))

    Args:
        *args: of ``MultiStepLR``; ``milestones`` are those of all other parts.
        **kwargs: of ``MultiStepLR``.

    Raises:
        ValueError: ``convert_to_iter_based``, which the milestones of the parts would not follow.
    """

    def _get_value(self) -> list[float]:
        own = [list(group.get('milestones', self.milestones.elements())) for group in self.optimizer.param_groups]
        return [
            group[self.param_name] * self.gamma ** milestones.count(self.last_step)
            for group, milestones in zip(self.optimizer.param_groups, own)
        ]

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, **kwargs: Any) -> None:
        raise ValueError('PartMultiStepLR counts epochs: leave `convert_to_iter_based` out.')
