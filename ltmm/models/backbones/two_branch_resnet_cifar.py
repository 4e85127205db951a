"""ResNet for 32x32 images whose last block is doubled, as in BBN."""

from typing import Any

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS

from .resnet_cifar import BasicBlock, ResNetCIFAR, blocks_per_stage

__all__ = ['TwoBranchResNetCIFAR']


@MODELS.register_module()
class TwoBranchResNetCIFAR(ResNetCIFAR):
    """:class:`ResNetCIFAR` whose last block stands twice, side by side, so that its features are twice as wide.

    BBN trains the two blocks on different samples; Causal TDE takes the network as it is, ResNet-32 with 128 features.
    Depth 8 keeps the only block of the last stage in front of the two.

    [0] Zhou et al., BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual Recognition,
        CVPR 2020, arXiv 1912.02413.
    [1] github.com/KaihuaTang/Long-Tailed-Recognition.pytorch @5c916d0, ResNet32Feature.py. Reproduces [1] to 1e-6
        (tests/conformance, ``trajectory_causal_tde``).

    Args:
        depth: 6 n + 2: stages of n, n and n - 1 blocks and the two branches.
        **kwargs: Further arguments of :class:`ResNetCIFAR`.
    """

    def __init__(self, depth: int = 32, **kwargs: Any) -> None:
        super().__init__(depth, **kwargs)
        width = self.layer3[-1].conv2.out_channels
        self.layer3 = self.layer3[: max(blocks_per_stage(depth) - 1, 1)]
        self.branches = nn.ModuleList(BasicBlock(width, width, 1, 'A') for _ in range(2))

    def maps(self, x: Tensor) -> Tensor:
        x = super().maps(x)
        return torch.cat([branch(x) for branch in self.branches], dim=1)
