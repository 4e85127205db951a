"""ResNet-50, ResNet-152 and ResNeXt-50 with several experts."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmpretrain.models.backbones import ResNeXt
from mmpretrain.models.backbones.resnet import ResLayer, get_expansion
from torch import nn

from ltmm.registry import MODELS

from .multi_expert import MultiExpertBackbone
from .resnet import ResNet

__all__ = ['MultiExpertResNeXt', 'MultiExpertResNet']


@MODELS.register_module()
class MultiExpertResNet(MultiExpertBackbone):
    """mmpretrain's ResNet of which the later stages exist once an expert.

    RIDE, SADE and MDCS share the first two stages and narrow the others, ``channels=(64, 128, 192, 384)``; with
    ``expert_stages=(3,)`` only the last stage is separate (TLC, and RIDE's ``share_layer3``); with all four stages and
    ``separate_stem=True`` the experts share nothing. Parameter names are those of mmpretrain and torchvision, so that
    the weights of a single network of the same width start every expert
    (``init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152')``).

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDEResNet``.

    Args:
        depth: 10, 18, 34, 50, 101 or 152.
        channels: widths of the four stages; the output of a bottleneck block has four times as many channels.
        num_experts: E.
        expert_stages: stages that every expert has for itself, counted from 0.
        separate_stem: give every expert its own first convolution too.
        stage_blocks: blocks of each stage; those of ``depth`` when left out.
        in_channels: colours of the input image.
        init_cfg: initialisation.

    Raises:
        ValueError: an unknown depth, no expert, or a stage that does not exist, or another number of widths than of
            stages.
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
        if depth not in self.arch_settings:
            raise ValueError(f'Expected `depth` to be one of {sorted(self.arch_settings)}, but got {depth}.')
        block, blocks_of_depth = self.arch_settings[depth]
        stage_blocks = stage_blocks or blocks_of_depth
        if len(stage_blocks) != len(channels):
            raise ValueError(f'Expected `channels` of {len(stage_blocks)} stages, but got {tuple(channels)}.')
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
        """One stage, as mmpretrain's ``ResLayer`` takes it."""
        return ResLayer(*args, **kwargs)


@MODELS.register_module()
class MultiExpertResNeXt(MultiExpertResNet):
    """mmpretrain's ResNeXt of which the later stages exist once an expert; see :class:`MultiExpertResNet`.

    Args:
        depth: 50, 101 or 152.
        groups: of the 3x3 convolutions.
        width_per_group: channels of a group where ``channels`` says 64.
        kwargs: further arguments of :class:`MultiExpertResNet`.
    """

    arch_settings = ResNeXt.arch_settings

    def __init__(self, depth: int, groups: int = 32, width_per_group: int = 4, **kwargs: Any) -> None:
        self.cardinality = dict(groups=groups, width_per_group=width_per_group)
        super().__init__(depth, **kwargs)

    def make_stage(self, *args: Any, **kwargs: Any) -> nn.Module:
        """One stage, with grouped convolutions."""
        return ResLayer(*args, **kwargs, **self.cardinality)
