"""The ResNets for 32x32 images that long-tailed CIFAR papers use."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['ResNetCIFAR']


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an option-A shortcut: every second pixel, new channels zero, no parameters."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        """The input in the shape of the output."""
        if self.stride == 1 and not self.new_channels:
            return x
        side = self.new_channels // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, self.new_channels - side))


@MODELS.register_module()
class ResNetCIFAR(BaseModule):
    """ResNet-20/32/44/56/... for 32x32 images: 3x3 stem without pooling, three stages, global average pooling.

    The network behind every published CIFAR10/100-LT figure; mmpretrain's ``ResNet_CIFAR`` is another, wider one.
    Parameter names are those of the authors' code.

    [0] He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``resnet32``.

    Args:
        depth: 6 n + 2 for n blocks a stage.
        channels: widths of the three stages.
        in_channels: colours of the input image.
        init_cfg: initialisation.

    Raises:
        ValueError: a depth that is not 6 n + 2.
    """

    def __init__(
        self,
        depth: int = 32,
        channels: Sequence[int] = (16, 32, 64),
        in_channels: int = 3,
        init_cfg: dict | list | None = dict(
            type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu', distribution='normal'
        ),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f'Expected `depth` to be 6 n + 2 (8, 14, 20, 32, 44, 56, 110), but got {depth}.')
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        num_blocks, width = (depth - 2) // 6, channels[0]
        for stage, channel in enumerate(channels, 1):
            blocks = []
            for block in range(num_blocks):
                blocks.append(BasicBlock(width, channel, stride=2 if stage > 1 and block == 0 else 1))
                width = channel
            self.add_module(f'layer{stage}', nn.Sequential(*blocks))
        self.num_stages = len(channels)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features (N, channels[-1]) of images (N, in_channels, H, W), in the tuple mmpretrain's heads expect."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        for stage in range(1, self.num_stages + 1):
            x = getattr(self, f'layer{stage}')(x)
        return (x.mean(dim=(2, 3)),)
