"""Backbone for training a classifier on extracted features."""

from mmengine.model import BaseModule
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['IdentityBackbone']


@MODELS.register_module()
class IdentityBackbone(BaseModule):
    """Pass the features of :class:`ltmm.datasets.FeatureDataset` on to the head."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, D), in the tuple that mmpretrain's heads expect."""
        if x.dim() != 2:
            raise InputError(
                f'IdentityBackbone: expected features of shape (N, D), but got {tuple(x.shape)}. '
                'Use ltmm.FeatureDataset.'
            )
        return (x,)
