"""ResNet-50, ResNet-152 and ResNeXt-50 with several experts."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmpretrain.models.backbones import ResNeXt
from mmpretrain.models.backbones.resnet import ResLayer, get_expansion
from torch import nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .multi_expert import MultiExpertBackbone
from .resnet import ResNet

__all__ = ['MultiExpertResNeXt', 'MultiExpertResNet']


@MODELS.register_module()
class MultiExpertResNet(MultiExpertBackbone):
    """mmpretrain's ResNet with separate later stages for each expert.

    RIDE, SADE and MDCS share the first two stages and narrow the others, ``channels=(64, 128, 192, 384)``; with
    ``expert_stages=(3,)`` only the last stage is separate (TLC, and RIDE's ``share_layer3``); with all four stages and
    ``separate_stem=True`` the experts share nothing. Parameters are named as in mmpretrain and torchvision, so the
    weights of a single network of the same width can initialize all experts
    (``init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152')``).

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDEResNet``.

    Args:
        depth: 10, 18, 34, 50, 101 or 152.
        channels: Widths of the four stages; the output of a bottleneck block has four times as many channels.
        num_experts: E.
        expert_stages: Stages that are separate for each expert, counted from 0.
        separate_stem: Make the first convolution separate too.
        stage_blocks: Number of blocks per stage. Default: those of ``depth``.
        in_channels: Channels of the input image.
        init_cfg: Initialization.
    """

    arch_settings = ResNet.arch_settings

    def __init__(
        self,
        depth: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        num_experts: int = 3,
        expert_stages: Sequence[int] = (2, 3),
        separate_stem: bool = False,
        stage_blocks: Sequence[int] | None = None,
        in_channels: int = 3,
        init_cfg: dict | list | None = dict(type='Kaiming', layer='Conv2d'),
    ) -> None:
        check(depth=(depth, self.arch_settings))
        block, blocks_of_depth = self.arch_settings[depth]
        stage_blocks = stage_blocks or blocks_of_depth
        if len(stage_blocks) != len(channels):
            raise InputError(f'Expected `channels` for {len(stage_blocks)} stages, but got {tuple(channels)}.')
        super().__init__(num_experts, len(channels), expert_stages, separate_stem, init_cfg)
        widths = [64, *(channel * get_expansion(block) for channel in channels)]
        self.add('conv1', partial(nn.Conv2d, in_channels, widths[0], 7, 2, 3, bias=False))
        self.add('bn1', partial(nn.BatchNorm2d, widths[0]))
        self.add('relu', partial(nn.ReLU, inplace=True))
        self.add('maxpool', partial(nn.MaxPool2d, 3, 2, 1))
        for stage, num_blocks in enumerate(stage_blocks):
            stride = 2 if stage else 1
            build = partial(self.make_stage, block, num_blocks, widths[stage], widths[stage + 1], stride=stride)
            self.add(f'layer{stage + 1}', build, stage)

    def make_stage(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Build a stage; the arguments are those of mmpretrain's ``ResLayer``."""
        return ResLayer(*args, **kwargs)


@MODELS.register_module()
class MultiExpertResNeXt(MultiExpertResNet):
    """mmpretrain's ResNeXt with separate later stages for each expert; see :class:`MultiExpertResNet`.

    Args:
        depth: 50, 101 or 152.
        groups: Groups of the 3x3 convolutions.
        width_per_group: Channels per group where ``channels`` is 64.
        kwargs: Further arguments of :class:`MultiExpertResNet`.
    """

    arch_settings = ResNeXt.arch_settings

    def __init__(self, depth: int, groups: int = 32, width_per_group: int = 4, **kwargs: Any) -> None:
        self.cardinality = dict(groups=groups, width_per_group=width_per_group)
        super().__init__(depth, **kwargs)

    def make_stage(self, *args: Any, **kwargs: Any) -> nn.Module:
        return ResLayer(*args, **kwargs, **self.cardinality)
