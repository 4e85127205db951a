"""Pre-activation ResNet-18 for 32x32 images, as in papers on noisy labels."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .resnet_cifar import fast_layout

__all__ = ['PreActResNetCIFAR']


class PreActBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions; the shortcut takes the activated input."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        is_same = stride == 1 and in_channels == channels
        self.shortcut = (
            nn.Identity() if is_same else nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/stride, W/stride)."""
        x = F.relu(self.bn1(x))
        return self.conv2(F.relu(self.bn2(self.conv1(x)))) + self.shortcut(x)


@MODELS.register_module()
class PreActResNetCIFAR(BaseModule):
    """Pre-activation ResNet-18 for 32x32 images, 11.2 M parameters: 3x3 stem, four stages, global average pooling.

    The network of DivideMix and TABASCO. It departs from [0]: identity shortcuts take the activated input, and neither
    batch norm nor ReLU follows the last block. Parameters are named as in [1].

    [0] He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027.
    [1] github.com/Wakings/TABASCO @712992b, ``models/PreResNet.py``.

    Args:
        num_blocks: Blocks of each stage.
        channels: Widths of the stages; all but the first halve the resolution.
        in_channels: Channels of the input image.
        init_cfg: Initialization; None for PyTorch's, as in [1].
    """

    def __init__(
        self,
        num_blocks: Sequence[int] = (2, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 3,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check(num_blocks=(num_blocks, 'a list of int >= 1'), channels=(channels, 'a list of int >= 1'))
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.num_stages, width = len(channels), channels[0]
        for stage, (num, channel) in enumerate(zip(num_blocks, channels, strict=True)):
            widths = [width, *[channel] * num]
            blocks = [PreActBlock(*widths[k : k + 2], 2 if stage and not k else 1) for k in range(num)]
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
            width = channel

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, D) of images (N, in_channels, H, W), in the tuple that mmpretrain's heads expect."""
        x = F.relu(self.bn1(self.conv1(fast_layout(x))))
        for stage in range(1, self.num_stages + 1):
            x = getattr(self, f'layer{stage}')(x)
        return (x.mean(dim=(2, 3)),)
