"""One more residual block behind the backbone."""

from mmengine.model import BaseModule
from mmpretrain.models.backbones.resnet import Bottleneck
from torch import Tensor

from ltmm.registry import MODELS

__all__ = ['ResidualBlock']


@MODELS.register_module()
class ResidualBlock(BaseModule):
    """Bottleneck block of a ResNet on the last feature maps, to train where the backbone is frozen.

    MiSLAS has one on Places-LT.

    Args:
        in_channels: Width of the feature maps, which stays the same; a multiple of 4.
        init_cfg: Initialization; by default that of ResNet.
    """

    def __init__(
        self,
        in_channels: int,
        init_cfg: dict | list | None = [
            dict(type='Kaiming', layer=['Conv2d']),
            dict(type='Constant', val=1, layer=['_BatchNorm']),
        ],
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.block = Bottleneck(in_channels, in_channels)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the feature maps (N, in_channels, H, W), in the tuple that mmpretrain's necks expect.

        Args:
            feats: The last is (N, in_channels, H, W).
        """
        return (self.block(feats[-1]),)
