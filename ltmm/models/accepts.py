"""Losses that heads of mmpretrain and mmdet accept; the heads of ltmm check theirs at build."""

from collections.abc import Mapping, Sequence
from functools import cache

from mmengine.dist import get_world_size
from mmpretrain.models import heads as mmpretrain_heads
from mmpretrain.models.losses import CrossEntropyLoss
from torch import nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.heads.base import ChecksLosses, check_cosine_scale, check_loss
from ltmm.models.losses.base import ClassificationLoss
from ltmm.models.losses.class_weights import check_class_weight, class_weights
from ltmm.models.losses.detection.base import BoxHeadLoss, MMDetSeesawLoss
from ltmm.models.losses.multi_label.base import MultiLabelLoss
from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['ForeignClassWeights', 'check_losses', 'detection_head_classes', 'heads_with_losses']


@cache
def foreign_heads() -> dict[type, tuple[str, tuple[type, ...]]]:
    """Return, per class of head, the attribute of its loss and the base classes that it accepts, subclasses first."""
    table = {
        mmpretrain_heads.MultiLabelClsHead: ('loss_module', (MultiLabelLoss,)),
        mmpretrain_heads.ClsHead: ('loss_module', (ClassificationLoss,)),
    }
    if mmdet_is_usable():
        from mmdet.models.dense_heads import DETRHead
        from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
        from mmdet.models.roi_heads import bbox_heads

        table |= {
            # these set the width of their classifier without asking the loss
            bbox_heads.DIIHead: ('loss_cls', ()),
            bbox_heads.DoubleConvFCBBoxHead: ('loss_cls', ()),
            bbox_heads.MultiInstanceBBoxHead: ('loss_cls', ()),
            bbox_heads.SABLHead: ('loss_cls', ()),
            bbox_heads.BBoxHead: ('loss_cls', (BoxHeadLoss,)),
            BaseDenseHead: ('loss_cls', ()),
            DETRHead: ('loss_cls', ()),
        }
    return table


@cache
def detection_head_classes() -> tuple[type, ...]:
    """Return the classes of mmdet's heads with a classifier; none without mmdet."""
    return tuple(cls for cls, (attribute, _) in foreign_heads().items() if attribute == 'loss_cls')


def heads_with_losses() -> tuple[type, ...]:
    """Return the classes of mmpretrain's and mmdet's heads with a classifier."""
    return tuple(foreign_heads())


def check_losses(model: nn.Module) -> None:
    """Refuse losses of ltmm in heads of mmpretrain and mmdet that they do not fit.

    Args:
        model: Any model.
    """
    is_distributed = get_world_size() > 1
    for name, head in model.named_modules():
        if isinstance(head, MMDetSeesawLoss) and is_distributed:
            raise InputTypeError(
                f'{name} is the SeesawLoss of mmdet, which counts labels on each rank alone: use ltmm.SeesawLoss, or '
                'one process.'
            )
        entry = next((entry for cls, entry in foreign_heads().items() if isinstance(head, cls)), None)
        if entry is None or isinstance(head, ChecksLosses):
            continue
        attribute, accepts = entry
        loss = getattr(head, attribute, None)  # DETR and mmpretrain have heads without one
        if loss is None:
            continue
        name = f'{name or "the head"} ({type(head).__name__})'
        check_loss(head, loss, accepts, name=name)
        check_cosine_scale(head, loss, name)
        if attribute == 'loss_cls' and isinstance(loss, BoxHeadLoss) and is_distributed:
            raise InputTypeError(
                f'{name} of mmdet skips its loss on ranks without proposals; the other ranks would hang in all_reduce. '
                "Use ltmm's box heads, such as ltmm.Shared2FCBBoxHead, or one process."
            )


class ForeignClassWeights:
    """``class_weight`` of the cross entropies of mmpretrain and mmdet, which take lists only and do not check them.

    In mmdet's softmax the background comes last, with weight 1 unless a list has C + 1 entries. The length of a list is
    not checked in mmdet's sigmoid and in heads of other classes than those of the training data, such as an RPN.

    Args:
        model: Any model.
    """

    def __init__(self, model: nn.Module) -> None:
        types = [CrossEntropyLoss]
        if mmdet_is_usable():
            from mmdet.models.losses import CrossEntropyLoss as DetectionCrossEntropyLoss

            types.append(DetectionCrossEntropyLoss)
        self.given = []
        num_classes: dict[str, int | None] = {}  # of the head around each module
        for path, loss in model.named_modules():
            num_classes[path] = getattr(loss, 'num_classes', None) or num_classes.get(path.rpartition('.')[0])
            if not isinstance(loss, tuple(types)) or not isinstance(loss.class_weight, (Mapping, Sequence)):
                continue
            name, is_list = f'{path} ({type(loss).__name__})', not isinstance(loss.class_weight, (str, Mapping))
            check_class_weight(loss.class_weight, name)
            has_background = not isinstance(loss, CrossEntropyLoss)
            if not has_background or not (loss.use_sigmoid or loss.use_mask):
                expected = num_classes[path] if is_list else None
                self.given.append((name, loss, loss.class_weight, has_background, expected))
            elif not is_list:
                raise InputError(
                    f'{name}: expected `class_weight` to be a list, which mmdet multiplies only the positives of a '
                    f'sigmoid by, but got {loss.class_weight!r}: use a loss of ltmm, or the softmax.'
                )

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Give each loss its list."""
        for name, loss, class_weight, has_background, num_classes in self.given:
            if num_classes not in (None, len(distribution)):
                continue
            background, is_list = [1.0] if has_background else [], isinstance(class_weight, (list, tuple))
            if has_background and is_list and len(class_weight) == len(distribution) + 1:
                *class_weight, background[0] = class_weight
            loss.class_weight = [*class_weights(class_weight, distribution, name).tolist(), *background]
