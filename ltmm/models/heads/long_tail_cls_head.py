"""The classification head: any classifier layer, any loss."""

from collections.abc import Sequence

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from ltmm.models.fits import check_losses_fit
from ltmm.models.prior import UsesClassDistribution
from ltmm.registry import MODELS

__all__ = ['LongTailClsHead']


@MODELS.register_module()
class LongTailClsHead(UsesClassDistribution, ClsHead):
    """One classifier layer and one loss, both by config; its checkpoints carry the class distribution.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        classifier: layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``.
        loss: any loss of mmpretrain or ltmm.
        class_counts: training images per class; taken from the training data when left out.
        topk: of the training accuracy, where ``cal_acc`` asks for it.
        cal_acc: log the training accuracy.
        init_cfg: initialisation of the classifier; the default leaves a cosine layer its own.

    Raises:
        ValueError: C is not positive.
        ClassDistributionError: training data with another number of classes.
        TypeError: a loss that was made for other heads, or a loss of cosines with a classifier that gives none.
        ValueError: cosines scaled by the classifier and again by the loss.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        classifier: dict = dict(type='ltmm.Linear'),
        loss: dict = dict(type='CrossEntropyLoss'),
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        topk: int | tuple[int, ...] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        if num_classes <= 0:
            raise ValueError(f'Expected `num_classes` to be positive, but got {num_classes}.')
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.fc = MMPRETRAIN_MODELS.build(dict(in_features=in_channels, out_features=num_classes, **classifier))
        self.init_class_distribution(class_counts, num_classes)
        check_losses_fit(self)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, C) of the last stage's features (N, D)."""
        return self.fc(self.pre_logits(feats))
