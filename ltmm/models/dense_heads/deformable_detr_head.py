"""mmdet's Deformable DETR head, told by its loss how wide to be and how to start."""

from typing import Any

from mmdet.models import dense_heads as mmdet_heads
from mmengine.model import bias_init_with_prob
from torch import nn

from ltmm.models.fits import check_losses_fit
from ltmm.registry import MODELS

from .one_update import OneUpdateAnIteration

__all__ = ['DeformableDETRHead']


class DETRHeadOfItsLoss(OneUpdateAnIteration):
    """Mixin of mmdet's DETR heads: what depends on the classification loss is taken from it.

    mmdet calls the loss decoder layer by decoder layer. With this, a loss of ltmm says the width of the classifier, C
    sigmoids, takes all layers as one iteration, and gives the bias of the classifier, :math:`-\\log((1 - p) / p)` with
    its ``prior_prob`` p. Other losses are met as mmdet meets them.
    """

    def _init_layers(self) -> None:
        check_losses_fit(self)
        if hasattr(self.loss_cls, 'get_dense_channels'):
            self.cls_out_channels = self.loss_cls.get_dense_channels(self.num_classes)
        super()._init_layers()

    def init_weights(self) -> None:
        """mmdet's, and the bias that the loss wishes."""
        super().init_weights()
        prior_prob = getattr(self.loss_cls, 'prior_prob', None)
        if prior_prob is not None:
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(prior_prob))


@MODELS.register_module()
class DeformableDETRHead(DETRHeadOfItsLoss, mmdet_heads.DeformableDETRHead):
    """mmdet's DeformableDETRHead, which takes width and prior bias from its loss, and all layers as one iteration.

    Args:
        *args: see :class:`mmdet.models.DeformableDETRHead`.
        **kwargs: see :class:`mmdet.models.DeformableDETRHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit DETR heads.
        ValueError: ``as_two_stage`` with a loss that gathers gradients by class.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.as_two_stage and getattr(self.loss_cls, 'gathers_by_class', False):
            raise ValueError(
                f'{type(self.loss_cls).__name__} does not fit a two-stage Deformable DETR: proposals are trained as '
                'objects of class 0, and would count as such. Use as_two_stage=False, or a loss without state.'
            )
