"""The projection that distribution-balanced loss is published with."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['PFC']


@MODELS.register_module()
class PFC(BaseModule):
    """Pooled features through a linear layer, batch normalisation and dropout: fewer weights a class, for small data.

    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``PFC``.

    Args:
        in_channels: width of the last stage of the backbone.
        out_channels: D; 256 in [1].
        dropout: share of the features that are dropped, in [0, 1); 0.5 in [1].
        init_cfg: initialisation.

    Raises:
        ValueError: ``dropout`` out of range.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dropout: float, init_cfg: dict | list | None = None
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f'Expected `dropout` to be in [0, 1), but got {dropout}.')
        super().__init__(init_cfg=init_cfg)
        self.layers = nn.Sequential(
            nn.Linear(in_channels, out_channels), nn.BatchNorm1d(out_channels), nn.Dropout(dropout)
        )

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Features (N, D), in the tuple mmpretrain's heads expect.

        Args:
            feats: the last of them (N, in_channels) or (N, in_channels, H, W).
        """
        x = feats[-1]
        return (self.layers(x.mean(dim=(2, 3)) if x.dim() == 4 else x),)
