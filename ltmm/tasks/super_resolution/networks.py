"""Small networks of super-resolution: (N, C, H, W) to (N, C, scale H, scale W)."""

import math

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['CARNM', 'FSRCNN', 'MSRN', 'SRResNet']


def conv(in_channels: int, out_channels: int, kernel_size: int = 3, groups: int = 1) -> nn.Conv2d:
    """Build a convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)


def init_convolutions(net: nn.Module, scale: float) -> None:
    """Draw the weights of convolutions by Kaiming's rule times ``scale``, without biases; not transposed ones."""
    check(init_scale=(scale, '> 0'))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.weight.mul_(scale)


def upsampler(channels: int, scale: int, activation: nn.Module | None = None, groups: int = 1) -> nn.Sequential:
    """Build sub-pixel convolutions by 2, or one by 3."""
    check(scale=(scale, (1, 2, 3, 4, 8)))
    factors = [3] if scale == 3 else [2] * int(math.log2(scale))
    layers = []
    for factor in factors:
        layers += [conv(channels, factor**2 * channels, groups=groups), nn.PixelShuffle(factor)]
        layers += [activation] if activation is not None else []
    return nn.Sequential(*layers)


@MODELS.register_module()
class FSRCNN(nn.Module):
    """FSRCNN: works on the small image, and enlarges it by a transposed convolution at the end.

    `Accelerating the Super-Resolution Convolutional Neural Network <https://arxiv.org/abs/1608.00367>`_ in the form
    of ClassSR and focal pixel learning: no activation between the mapping layers, one slope per PReLU.

    Args:
        scale: Factor, 1 to 9.
        in_channels: C.
        dim: Channels of features and of the last layer, d.
        shrunk_dim: Channels of the mapping layers, s.
        num_mappings: Number of the mapping layers, m.
        init_scale: Factor of Kaiming's weights at the start. The authors' 0.1 needs a long training: through eight
            layers it leaves almost no gradient at first.
    """

    def __init__(
        self,
        scale: int = 4,
        in_channels: int = 3,
        dim: int = 56,
        shrunk_dim: int = 12,
        num_mappings: int = 4,
        init_scale: float = 0.1,
    ) -> None:
        super().__init__()
        check(scale=(scale, range(1, 10)), num_mappings=(num_mappings, 'int >= 1'))
        self.features = nn.Sequential(conv(in_channels, dim, 5), nn.PReLU())
        self.shrink = nn.Sequential(conv(dim, shrunk_dim, 1), nn.PReLU())
        self.map = nn.Sequential(*(conv(shrunk_dim, shrunk_dim) for _ in range(num_mappings)), nn.PReLU())
        self.expand = nn.Sequential(conv(shrunk_dim, dim, 1), nn.PReLU())
        padding = math.ceil((9 - scale) / 2)
        self.enlarge = nn.ConvTranspose2d(
            dim, in_channels, 9, stride=scale, padding=padding, output_padding=scale + 2 * padding - 9
        )
        init_convolutions(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge(self.expand(self.map(self.shrink(self.features(x)))))


class EfficientResidualBlock(nn.Module):
    """Two grouped convolutions and a pointwise one, with a skip connection.

    Args:
        dim: Channels.
        groups: Of the 3 x 3 convolutions.
    """

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(conv(dim, dim, 3, groups), relu, conv(dim, dim, 3, groups), relu, conv(dim, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + x).relu()


class Cascade(nn.Module):
    """Three stages whose outputs all go on to the next ones, fused by a pointwise convolution.

    Args:
        dim: Channels.
        stages: The stages; one module three times shares its weights.
    """

    def __init__(self, dim: int, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.fuse = nn.ModuleList(nn.Sequential(conv((k + 2) * dim, dim, 1), nn.ReLU()) for k in range(len(stages)))

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for stage, fuse in zip(self.stages, self.fuse):
            seen = torch.cat([seen, stage(x)], dim=1)
            x = fuse(seen)
        return x


@MODELS.register_module()
class CARNM(nn.Module):
    """CARN-M: cascades of recursive residual blocks with grouped convolutions.

    `Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network
    <https://arxiv.org/abs/1803.08664>`_

    Args:
        scale: Factor: 1, 2, 3, 4 or 8.
        in_channels: C.
        dim: Channels of the features.
        groups: Of the convolutions in residual blocks and enlargement.
        init_scale: Factor of Kaiming's weights at the start.
    """

    def __init__(
        self, scale: int = 4, in_channels: int = 3, dim: int = 64, groups: int = 4, init_scale: float = 0.1
    ) -> None:
        super().__init__()
        blocks = [Cascade(dim, [EfficientResidualBlock(dim, groups)] * 3) for _ in range(3)]
        self.body = nn.Sequential(
            conv(in_channels, dim),
            Cascade(dim, blocks),
            upsampler(dim, scale, nn.ReLU(), groups),
            conv(dim, in_channels),
        )
        init_convolutions(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection, without batch normalization.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(dim, dim), nn.ReLU(inplace=True), conv(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@MODELS.register_module()
class SRResNet(nn.Module):
    """SRResNet without batch normalization, as in ESRGAN's and ClassSR's code.

    `Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network
    <https://arxiv.org/abs/1609.04802>`_

    Args:
        scale: Factor: 1, 2, 3, 4 or 8.
        in_channels: C.
        dim: Channels of the features.
        num_blocks: Number of residual blocks.
        init_scale: Factor of Kaiming's weights at the start.
    """

    def __init__(
        self, scale: int = 4, in_channels: int = 3, dim: int = 64, num_blocks: int = 16, init_scale: float = 0.1
    ) -> None:
        super().__init__()
        relu = nn.LeakyReLU(0.1)
        self.body = nn.Sequential(
            conv(in_channels, dim),
            relu,
            *(ResidualBlock(dim) for _ in range(num_blocks)),
            upsampler(dim, scale, relu),
            conv(dim, dim),
            relu,
            conv(dim, in_channels),
        )
        init_convolutions(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class MultiScaleBlock(nn.Module):
    """Convolutions of 3 x 3 and 5 x 5 that exchange their features, with a skip connection.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(conv(dim, dim, kernel_size) for kernel_size in (3, 5))
        self.second = nn.ModuleList(conv(2 * dim, 2 * dim, kernel_size) for kernel_size in (3, 5))
        self.fuse = conv(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.cat([layer(x).relu() for layer in self.first], dim=1)
        return x + self.fuse(torch.cat([layer(first).relu() for layer in self.second], dim=1))


@MODELS.register_module()
class MSRN(nn.Module):
    """MSRN: multi-scale residual blocks, of which all outputs are fused before the enlargement.

    Multi-scale Residual Network for Image Super-Resolution (Li et al., ECCV 2018).

    Args:
        scale: Factor: 1, 2, 3, 4 or 8.
        in_channels: C.
        dim: Channels of the features.
        num_blocks: Number of blocks.
        init_scale: Factor of Kaiming's weights at the start.
    """

    def __init__(
        self, scale: int = 4, in_channels: int = 3, dim: int = 64, num_blocks: int = 8, init_scale: float = 0.1
    ) -> None:
        super().__init__()
        check(num_blocks=(num_blocks, 'int >= 1'))
        self.head = conv(in_channels, dim)
        self.blocks = nn.ModuleList(MultiScaleBlock(dim) for _ in range(num_blocks))
        self.tail = nn.Sequential(
            conv((num_blocks + 1) * dim, dim, 1), conv(dim, dim), upsampler(dim, scale), conv(dim, in_channels)
        )
        init_convolutions(self, init_scale)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.head(x)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return self.tail(torch.cat(features, dim=1))
