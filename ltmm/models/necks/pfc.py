"""Projection used with distribution-balanced loss."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['PFC']


@MODELS.register_module()
class PFC(BaseModule):
    """Global average pooling, a linear layer, batch norm and dropout: fewer weights per class, for small datasets.

    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``PFC``.

    Args:
        in_channels: Width of the last stage of the backbone.
        out_channels: D; 256 in [1].
        dropout: Probability of dropping a feature; 0.5 in [1].
        init_cfg: Initialization; the default is that of [1], which batch norm hides in the outputs, but not in the
            effective learning rate.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dropout: float,
        init_cfg: dict | list | None = dict(type='Kaiming', layer='Linear', mode='fan_out', bias=0),
    ) -> None:
        check(dropout=(dropout, 'in [0, 1)'))
        super().__init__(init_cfg=init_cfg)
        self.layers = nn.Sequential(
            nn.Linear(in_channels, out_channels), nn.BatchNorm1d(out_channels), nn.Dropout(dropout)
        )

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the features (N, D), in the tuple that mmpretrain's heads expect.

        Args:
            feats: The last is (N, in_channels) or (N, in_channels, H, W).
        """
        x = feats[-1]
        return (self.layers(x.mean(dim=(2, 3)) if x.dim() == 4 else x),)
