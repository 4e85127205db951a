"""Replace a trained classifier by the nearest class mean."""

from collections.abc import Mapping
from typing import Any

from mmpretrain.models.heads import ClsHead, LinearClsHead
from torch import Tensor, nn

from ltmm.models.heads import LongTailClsHead
from ltmm.models.layers.nearest_mean import NearestMean
from ltmm.registry import MODELS

from .base import PostProcess

__all__ = ['NearestClassMean']


@MODELS.register_module()
class NearestClassMean(PostProcess):
    """Replaces the classifier by the nearest mean of the training features of each class.

    The means are computed without augmentation in one pass over the training set. See
    :class:`ltmm.models.NearestMean`.

    Args:
        transform: ``'un'``, ``'l2n'`` or ``'cl2n'``.
        similarity: ``'l2'`` or ``'dot'``.
    """

    needs_fit = True
    replaces_logits = True
    replaces = ('head.',)

    def __init__(self, transform: str = 'cl2n', similarity: str = 'l2') -> None:
        super().__init__()
        self.layer = NearestMean(0, 0, transform, similarity)

    def fit(self, train: Any, val: Any) -> None:
        """Compute the class means of the training split."""
        features = train.features
        self.layer = NearestMean(features.size(1), train.num_classes, **self.settings())
        self.layer.fit(features, train.label)

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return self.layer(features)

    def head_config(self, head: nn.Module) -> dict[str, Any] | None:
        if type(head).pre_logits not in (cls.pre_logits for cls in (ClsHead, LinearClsHead, LongTailClsHead)):
            return None  # the classifier layer sees other features than the head
        classifier = dict(type='ltmm.NearestMean', **self.settings())
        width = self.layer.in_features
        return dict(type='ltmm.LongTailClsHead', num_classes=head.num_classes, in_channels=width, classifier=classifier)

    def write(self, head: nn.Module) -> bool:
        if not isinstance(head, LongTailClsHead) or not isinstance(head.fc, NearestMean):
            return False
        head.fc = self.layer
        return True

    def settings(self) -> Mapping[str, Any]:
        return dict(transform=self.layer.transform, similarity=self.layer.similarity)
