"""ResNets for 32x32 images, as in papers on long-tailed CIFAR."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['ResNetCIFAR', 'blocks_per_stage', 'fast_layout', 'make_stage']


class PadShortcut(nn.Module):
    """Option A without parameters: take every ``stride``-th pixel and pad zero channels, half on each side."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + new_channels, H/stride, W/stride)."""
        side = self.new_channels // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, self.new_channels - side))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, the identity where the shape does not change."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif shortcut == 'A':
            self.shortcut = PadShortcut(channels - in_channels, stride)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)


def make_stage(
    in_channels: int, channels: int, num_blocks: int, stride: int, shortcut: str, groups: int = 1
) -> nn.Sequential:
    """Build a stage of basic blocks, the first of which changes width and resolution.

    Args:
        in_channels: Width of the input.
        channels: Width of the output.
        num_blocks: Number of blocks.
        stride: Stride of the first block.
        shortcut: Where the shape changes: ``'A'``, without parameters, or ``'B'``, a 1x1 convolution and batch norm.
        groups: Number of stages of these widths that grouped convolutions run side by side, with one shortcut.
    """
    in_channels, channels = groups * in_channels, groups * channels
    first = BasicBlock(in_channels, channels, stride, shortcut, groups)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1, shortcut, groups) for _ in range(num_blocks - 1)))


def blocks_per_stage(depth: int) -> int:
    """Return n of a CIFAR ResNet with 6 n + 2 layers."""
    if depth < 8 or (depth - 2) % 6:
        raise InputError(f'Expected `depth` to be 6 n + 2 (8, 14, 20, 32, 44, 56, 110), but got {depth}.')
    return (depth - 2) // 6


def fast_layout(x: Tensor) -> Tensor:
    """Return the images in the memory format in which CPUs convolve small ones about a fifth faster."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == 'cpu' else x


@MODELS.register_module()
class ResNetCIFAR(BaseModule):
    """ResNet-20/32/44/56/... for 32x32 images: 3x3 stem without pooling, three stages, global average pooling.

    The usual network for CIFAR10/100-LT; mmpretrain's ``ResNet_CIFAR`` is wider. Parameters are named as in [1].

    [0] He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``resnet32``.

    Args:
        depth: 6 n + 2 for n blocks per stage.
        channels: Widths of the three stages.
        in_channels: Channels of the input image.
        stem_stride: Stride of the first convolution; with 2, 64x64 images cost as much as 32x32 images with 1.
        pooled: Return pooled features; without, the last maps (N, D, H, W), for a neck that needs them.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        depth: int = 32,
        channels: Sequence[int] = (16, 32, 64),
        in_channels: int = 3,
        stem_stride: int = 1,
        pooled: bool = True,
        init_cfg: dict | list | None = dict(
            type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu', distribution='normal'
        ),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        num_blocks = blocks_per_stage(depth)
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        for stage, (width, channel) in enumerate(zip((channels[0], *channels), channels)):
            self.add_module(f'layer{stage + 1}', make_stage(width, channel, num_blocks, 2 if stage else 1, 'A'))
        self.num_stages, self.pooled = len(channels), pooled

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, D) of images (N, in_channels, H, W), in the tuple that mmpretrain's heads expect."""
        x = self.maps(x)
        return (x.mean(dim=(2, 3)) if self.pooled else x,)

    def maps(self, x: Tensor) -> Tensor:
        """Return the last maps (N, D, H, W) of images (N, in_channels, H, W)."""
        x = F.relu(self.bn1(self.conv1(fast_layout(x))), inplace=True)
        for stage in range(1, self.num_stages + 1):
            x = getattr(self, f'layer{stage}')(x)
        return x
