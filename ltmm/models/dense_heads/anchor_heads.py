"""mmdet's one-stage heads with the losses of ltmm."""

from typing import Any

from mmdet.models import dense_heads as mmdet_heads

from ltmm.models.losses.detection.base import DenseHeadLoss
from ltmm.models.losses.detection.efl_loss import EqualizedQualityFocalLoss
from ltmm.registry import MODELS

from .base import DenseHeadMixin

__all__ = ['ATSSHead', 'GFLHead', 'RetinaHead']


class AnchorHeadMixin(DenseHeadMixin):
    """Mixin of mmdet's anchor heads: the bias of the classifier starts from the ``prior_prob`` of the loss."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.loss_cls, DenseHeadLoss) and 'init_cfg' not in kwargs:
            override = dict(self.init_cfg['override'], bias_prob=self.loss_cls.prior_prob)
            self.init_cfg = dict(self.init_cfg, override=override)


@MODELS.register_module()
class RetinaHead(AnchorHeadMixin, mmdet_heads.RetinaHead):
    """mmdet's RetinaHead for losses of ltmm, see :class:`DenseHeadMixin`."""


@MODELS.register_module()
class ATSSHead(AnchorHeadMixin, mmdet_heads.ATSSHead):
    """mmdet's ATSSHead for losses of ltmm, see :class:`DenseHeadMixin`."""


@MODELS.register_module()
class GFLHead(AnchorHeadMixin, mmdet_heads.GFLHead):
    """mmdet's GFLHead for losses of ltmm that take the quality of the boxes, see :class:`DenseHeadMixin`."""

    accepts = (EqualizedQualityFocalLoss,)
