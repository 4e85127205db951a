"""mmdet's one-stage heads, told by their loss how wide to be and how to start."""

from typing import Any

from mmdet.models import dense_heads as mmdet_heads

from ltmm.models.fits import check_losses_fit
from ltmm.registry import MODELS

from .one_update import OneUpdateAnIteration

__all__ = ['ATSSHead', 'RetinaHead']


class DenseHeadOfItsLoss(OneUpdateAnIteration):
    """Mixin of mmdet's anchor heads: what depends on the classification loss is taken from it.

    mmdet itself asks the config of the loss for ``use_sigmoid``, and calls the loss level by level. With this, a loss
    of ltmm says the width of the classifier, C sigmoids, and takes all levels as one iteration; the bias of the
    classifier is :math:`-\\log((1 - p) / p)` with the loss's ``prior_prob`` p, unless there is an explicit
    ``init_cfg``. Other losses are met as mmdet meets them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        prior_prob = getattr(self.loss_cls, 'prior_prob', None)
        if prior_prob is not None and 'init_cfg' not in kwargs:
            override = dict(self.init_cfg['override'], bias_prob=prior_prob)
            self.init_cfg = dict(self.init_cfg, override=override)

    def _init_layers(self) -> None:
        check_losses_fit(self)
        if hasattr(self.loss_cls, 'get_dense_channels'):
            self.cls_out_channels = self.loss_cls.get_dense_channels(self.num_classes)
            self.use_sigmoid_cls = True
        super()._init_layers()


@MODELS.register_module()
class RetinaHead(DenseHeadOfItsLoss, mmdet_heads.RetinaHead):
    """mmdet's RetinaHead, which takes width and prior bias from its loss, and all levels as one iteration.

    Args:
        *args: see :class:`mmdet.models.RetinaHead`.
        **kwargs: see :class:`mmdet.models.RetinaHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit dense heads.
    """


@MODELS.register_module()
class ATSSHead(DenseHeadOfItsLoss, mmdet_heads.ATSSHead):
    """mmdet's ATSSHead, which takes width and prior bias from its loss, and all levels as one iteration.

    Args:
        *args: see :class:`mmdet.models.ATSSHead`.
        **kwargs: see :class:`mmdet.models.ATSSHead`.

    Raises:
        TypeError: ``loss_cls`` does not fit dense heads.
    """
