"""SHIKE's network: experts that use shallow features from different depths."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import ModuleList, Sequential
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from .multi_expert_resnet_cifar import MultiExpertResNetCIFAR

__all__ = ['SHIKEResNetCIFAR']

PYTORCH_INIT = dict(
    type='Kaiming', layer='Conv2d', a=5**0.5, mode='fan_in', nonlinearity='leaky_relu', distribution='uniform'
)


def shallow_branch(in_channels: int, out_channels: int) -> Sequential:
    """Build convolutions with batch norm that halve the resolution and double the width until ``out_channels``.

    Only the first one is followed by a ReLU. They start as PyTorch draws them, like those of the authors.
    """
    layers: list[nn.Module] = []
    while in_channels < out_channels:
        layers += [nn.Conv2d(in_channels, 2 * in_channels, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * in_channels)]
        if len(layers) == 2:
            layers.append(nn.ReLU(inplace=True))
        in_channels *= 2
    return Sequential(*layers, init_cfg=PYTORCH_INIT)


@MODELS.register_module()
class SHIKEResNetCIFAR(MultiExpertResNetCIFAR):
    """Multi-expert ResNet in which each expert multiplies its last stage by shallow features.

    The first two stages are shared. Expert e maps the output of stage ``e % 2`` to the shape of its last stage by
    convolutions of its own, so that the experts use features from different depths.

    [0] Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge Excavation,
        CVPR 2023, arXiv 2304.01279.
    [1] github.com/jinyan-06/SHIKE @2b04b62, ``ResNet_MoE``.

    Args:
        depth: See :class:`MultiExpertResNetCIFAR`.
        channels: Widths of the three stages, each twice the one before.
        num_experts: E.
        kwargs: Further arguments of :class:`MultiExpertResNetCIFAR`, but ``expert_stages`` and ``shortcut``.
    """

    runs_experts_alone = False

    def __init__(
        self, depth: int | None = None, channels: Sequence[int] = (16, 32, 64), num_experts: int = 3, **kwargs: Any
    ) -> None:
        if len(channels) != 3 or tuple(channels) != tuple(channels[0] * 2**i for i in range(3)):
            raise InputError(f'Expected three `channels`, each twice the one before, but got {channels}.')
        super().__init__(depth, channels, num_experts, expert_stages=(2,), shortcut='B', **kwargs)
        self.shallow = ModuleList(shallow_branch(channels[e % 2], channels[2]) for e in range(num_experts))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (E, N, D) of images (N, C, H, W)."""
        *shared, deep = self.stage_maps(x)
        return self.pool([d * branch(shared[e % 2][0]) for e, (d, branch) in enumerate(zip(deep, self.shallow))])
