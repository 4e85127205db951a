"""mmdet's Deformable DETR head with the losses of ltmm."""

from typing import Any

from mmdet.models import dense_heads as mmdet_heads
from mmengine.model import bias_init_with_prob
from torch import nn

from ltmm.models.losses.detection.base import DenseHeadLoss
from ltmm.models.state.base import TrainingState
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from .base import DenseHeadMixin

__all__ = ['DeformableDETRHead']


@MODELS.register_module()
class DeformableDETRHead(DenseHeadMixin, mmdet_heads.DeformableDETRHead):
    """mmdet's DeformableDETRHead for losses of ltmm, see :class:`DenseHeadMixin`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        has_state = any(isinstance(module, TrainingState) for module in self.loss_cls.modules())
        if self.as_two_stage and has_state:
            raise InputError(
                f'{type(self.loss_cls).__name__} does not support as_two_stage=True: proposals are trained as objects '
                'of class 0, and would be counted as such.'
            )

    def init_weights(self) -> None:
        """Initialize as mmdet does, then set the classifier bias from ``prior_prob``."""
        super().init_weights()
        if isinstance(self.loss_cls, DenseHeadLoss):
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(self.loss_cls.prior_prob))
