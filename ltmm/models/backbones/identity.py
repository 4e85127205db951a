"""The backbone of a model that is trained on features."""

from mmengine.model import BaseModule
from torch import Tensor

from ltmm.registry import MODELS

__all__ = ['IdentityBackbone']


@MODELS.register_module()
class IdentityBackbone(BaseModule):
    """Passes features on to the head, so that the classifier alone is trained on what a frozen backbone gave.

    Raises:
        ValueError: inputs that are no feature vectors.
    """

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features (N, D), in the tuple mmpretrain's heads expect."""
        if x.dim() != 2:
            raise ValueError(
                f'IdentityBackbone: expected features of shape (N, D), but got {tuple(x.shape)}. '
                'Its data come from ltmm.FeatureDataset.'
            )
        return (x,)
