"""mmdet's RoI box heads, told by their loss how to start."""

from typing import Any

from mmdet.models.roi_heads import bbox_heads as mmdet_heads
from torch import Tensor

from ltmm.models.fits import check_losses_fit
from ltmm.registry import MODELS

__all__ = ['ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead']


class FollowsItsLoss:
    """Mixin of mmdet's ConvFC box heads: what depends on the classification loss is taken from it.

    mmdet itself asks the loss for the width of the classifier, the scores and the accuracy. This adds the bias of the
    classifier, :math:`-\\log((1 - p) / p)` with the loss's ``prior_prob`` p, refuses a loss that is not made for
    RoI heads, and keeps the classifier in the graph of a batch without proposals. An explicit ``init_cfg`` replaces
    all of the initialisation, the bias too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_losses_fit(self)
        prior_prob = getattr(self.loss_cls, 'prior_prob', None)
        if self.with_cls and prior_prob is not None and kwargs.get('init_cfg') is None:
            (init_fc_cls,) = (cfg for cfg in self.init_cfg if cfg['override'] == dict(name='fc_cls'))
            init_fc_cls['bias_prob'] = prior_prob

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> dict:
        """mmdet's loss; where it leaves the classification loss out, for want of proposals, an empty one is put in."""
        losses = super().loss(cls_score, bbox_pred, rois, labels, label_weights, *args, **kwargs)
        if cls_score is not None and not cls_score.numel():
            loss_cls = self.loss_cls(cls_score, labels, label_weights, avg_factor=1.0)
            losses.update(loss_cls if isinstance(loss_cls, dict) else dict(loss_cls=loss_cls))
        return losses


@MODELS.register_module()
class ConvFCBBoxHead(FollowsItsLoss, mmdet_heads.ConvFCBBoxHead):
    """mmdet's ConvFCBBoxHead, which takes width, scores, accuracy and prior bias from its loss.

    Args:
        *args: see :class:`mmdet.models.ConvFCBBoxHead`.
        **kwargs: see :class:`mmdet.models.ConvFCBBoxHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit RoI heads.
    """


@MODELS.register_module()
class Shared2FCBBoxHead(FollowsItsLoss, mmdet_heads.Shared2FCBBoxHead):
    """mmdet's Shared2FCBBoxHead, which takes width, scores, accuracy and prior bias from its loss.

    Args:
        *args: see :class:`mmdet.models.Shared2FCBBoxHead`.
        **kwargs: see :class:`mmdet.models.Shared2FCBBoxHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit RoI heads.
    """


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(FollowsItsLoss, mmdet_heads.Shared4Conv1FCBBoxHead):
    """mmdet's Shared4Conv1FCBBoxHead, which takes width, scores, accuracy and prior bias from its loss.

    Args:
        *args: see :class:`mmdet.models.Shared4Conv1FCBBoxHead`.
        **kwargs: see :class:`mmdet.models.Shared4Conv1FCBBoxHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit RoI heads.
    """
