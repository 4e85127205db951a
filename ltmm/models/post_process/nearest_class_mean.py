"""Replace a trained classifier by the nearest class mean."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ltmm.models.layers.nearest_mean import NearestMean
from ltmm.registry import MODELS

from .base import PostProcess

__all__ = ['NearestClassMean']


@MODELS.register_module()
class NearestClassMean(PostProcess):
    """Keeps the features and replaces the classifier by the nearest mean of each class, which no class size enters.

    The means are taken from the training data as the test sees them (without augmentation), in one pass through the
    backbone. See :class:`ltmm.models.NearestMean`.

    Args:
        transform: ``'un'``, ``'l2n'`` or ``'cl2n'``.
        similarity: ``'l2'`` or ``'dot'``.

    Raises:
        ValueError: an unknown transform or similarity.
        RuntimeError: used before :meth:`fit`.
    """

    needs_features = True
    needs_class_means = True

    def __init__(self, transform: str = 'cl2n', similarity: str = 'l2') -> None:
        super().__init__()
        self.layer = NearestMean(0, 0, transform, similarity)

    def fit(self, features: Tensor, label: Tensor, num_classes: int) -> None:
        """Take the means of the training data; with several processes each gives its own part.

        Args:
            features: (N, D).
            label: (N,).
            num_classes: C.
        """
        self.layer = NearestMean(features.size(1), num_classes, **self.settings()).to(features.device)
        self.layer.fit(features, label)

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        """Logits of the class means."""
        return self.layer(features)

    def settings(self) -> Mapping[str, Any]:
        """See :class:`PostProcess`."""
        return dict(transform=self.layer.transform, similarity=self.layer.similarity)
