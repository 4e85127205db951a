"""Mixin of mmdet's dense and DETR heads for losses of ltmm."""

from typing import Any

from ltmm.models.heads.base import ChecksLosses, check_loss
from ltmm.models.losses.detection.base import DenseHeadLoss

__all__ = ['DenseHeadMixin']


class DenseHeadMixin(ChecksLosses):
    """Mixin of mmdet's dense and DETR heads: the loss sets the width of the classifier, C sigmoids, and its bias.

    mmdet calls the loss level by level or decoder layer by decoder layer; a loss with state takes these as one update.
    """

    accepts = (DenseHeadLoss,)

    def _init_layers(self) -> None:
        check_loss(self, self.loss_cls, self.accepts)
        if isinstance(self.loss_cls, DenseHeadLoss):
            self.cls_out_channels = self.loss_cls.get_dense_channels(self.num_classes)
            self.use_sigmoid_cls = True
        super()._init_layers()

    def loss_by_feat(self, *args: Any, **kwargs: Any) -> dict:
        """Compute mmdet's losses of all levels or layers."""
        if not isinstance(self.loss_cls, DenseHeadLoss):
            return super().loss_by_feat(*args, **kwargs)
        with self.loss_cls.one_update():
            return super().loss_by_feat(*args, **kwargs)
