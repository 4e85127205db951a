"""Wide ResNets for 32x32 images, as in semi-supervised learning."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .resnet_cifar import fast_layout

__all__ = ['WideResNetCIFAR']

SLOPE = 0.1  # of the leaky ReLU


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with slow running statistics."""
    return nn.BatchNorm2d(channels, momentum=0.001)


class PreActBlock(nn.Module):
    """Batch norm, leaky ReLU and 3x3 convolution, twice, and a shortcut, 1x1 where the width changes.

    Args:
        in_channels: Width of the input.
        channels: Width of the output.
        stride: Stride of the first convolution.
        active_shortcut: Let the shortcut read the activated input.
        raw_conv: Let the first convolution read the raw input. The first batch norm only moves its statistics.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, active_shortcut: bool, raw_conv: bool) -> None:
        super().__init__()
        self.active_shortcut, self.raw_conv = active_shortcut, raw_conv
        self.bn1 = norm(in_channels).requires_grad_(not raw_conv)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.shortcut = nn.Identity()
        if in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/stride, W/stride)."""
        active = F.leaky_relu(self.bn1(x), SLOPE)
        out = self.conv1(x if self.raw_conv else active)
        out = self.conv2(F.leaky_relu(self.bn2(out), SLOPE))
        return out + self.shortcut(active if self.active_shortcut else x)


@MODELS.register_module()
class WideResNetCIFAR(BaseModule):
    """Wide ResNet with pre-activation for 32x32 images; WRN-28-2, 1.5 M parameters, is usual in FixMatch and after it.

    Leaky ReLU of slope 0.1, and batch-norm statistics that move by 0.001 per step.

    [0] Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146.
    [1] github.com/Gank0078/ACR @9a8f421, ``models/wideresnet.py``.

    Args:
        depth: 6 n + 4 for n blocks per stage.
        width: Factor of the widths 16, 32 and 64.
        raw_convs: Let the first convolution of stages 2 and 3 read the input before its batch norm and activation, as
            the code of [1] and others derived from the same source do. That batch norm then does nothing but move its
            statistics.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        depth: int = 28,
        width: int = 2,
        raw_convs: bool = False,
        init_cfg: dict | list | None = dict(
            type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='leaky_relu', distribution='normal'
        ),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check(width=(width, 'int >= 1'))
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f'Expected `depth` to be 6 n + 4 (10, 16, 22, 28, 40), but got {depth}.')
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        channels = [16, 16 * width, 32 * width, 64 * width]
        for stage in (1, 2, 3):
            old, new = channels[stage - 1 : stage + 1]
            raw = raw_convs and stage > 1
            blocks = [PreActBlock(old, new, 2 if stage > 1 else 1, stage == 1 and old != new, raw)]
            blocks += [PreActBlock(new, new, 1, False, False) for _ in range((depth - 4) // 6 - 1)]
            self.add_module(f'layer{stage}', nn.Sequential(*blocks))
        self.bn1 = norm(channels[-1])

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, 64 width) of images (N, 3, H, W)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(fast_layout(x)))))
        return (F.leaky_relu(self.bn1(x), SLOPE).mean(dim=(2, 3)),)
