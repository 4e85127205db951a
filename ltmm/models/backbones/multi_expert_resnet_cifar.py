"""ResNets for 32x32 images, such as ResNet-32, with several experts."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .multi_expert import MultiExpertBackbone
from .resnet_cifar import blocks_per_stage, make_stage

__all__ = ['MultiExpertResNetCIFAR']


@MODELS.register_module()
class MultiExpertResNetCIFAR(MultiExpertBackbone):
    """:class:`ResNetCIFAR` with separate later stages for each expert.

    RIDE, SADE and MDCS share the first stage and narrow the others, ``channels=(16, 24, 48)``, so that three experts
    cost 1.7 times the parameters of one full network; BalPoE keeps the full width; TLC separates all stages,
    ``expert_stages=(0, 1, 2)``; with ``separate_stem=True`` too the experts share nothing. LGLA runs full-width experts
    as one grouped network, ``shortcut='concat'``, which reproduces [2] to 1e-6 (tests/conformance, ``lgla_backbone``).

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``ResNet_s``.
    [2] github.com/Tao0-0/LGLA @0d72bdb, ``ResNet_s``.

    Args:
        depth: 6 n + 2 for n blocks per stage. Default: 32.
        channels: Widths of the three stages.
        num_experts: E.
        expert_stages: Stages that are separate for each expert, counted from 0.
        separate_stem: Make the first convolution separate too.
        shortcut: Where the shape changes, per expert: ``'A'``, without parameters, or ``'B'``, a 1x1 convolution and
            batch norm. ``'concat'``: option A on the channels of all experts side by side; as it pads only the two
            ends, shortcuts carry channels of one expert to another.
        stage_blocks: Number of blocks per stage, instead of ``depth``.
        in_channels: Channels of the input image.
        stem_stride: Stride of the first convolution.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        depth: int | None = None,
        channels: Sequence[int] = (16, 32, 64),
        num_experts: int = 3,
        expert_stages: Sequence[int] = (1, 2),
        separate_stem: bool = False,
        shortcut: str = 'A',
        stage_blocks: Sequence[int] | None = None,
        in_channels: int = 3,
        stem_stride: int = 1,
        init_cfg: dict | list | None = dict(
            type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu', distribution='normal'
        ),
    ) -> None:
        if None not in (depth, stage_blocks):
            raise InputError(f'Expected `depth` or `stage_blocks`, but got both: {depth} and {tuple(stage_blocks)}.')
        if stage_blocks is None:
            stage_blocks = [blocks_per_stage(32 if depth is None else depth)] * 3
        if len(stage_blocks) != len(channels):
            raise InputError(f'Expected `channels` for {len(stage_blocks)} stages, but got {tuple(channels)}.')
        check(shortcut=(shortcut, ('A', 'B', 'concat')))
        super().__init__(num_experts, len(channels), expert_stages, separate_stem, init_cfg)
        self.add('conv1', partial(nn.Conv2d, in_channels, channels[0], 3, stem_stride, 1, bias=False))
        self.add('bn1', partial(nn.BatchNorm2d, channels[0]))
        self.add('relu', partial(nn.ReLU, inplace=True))
        widths, is_grouped = [channels[0], *channels], shortcut == 'concat'
        option = 'A' if is_grouped else shortcut
        for stage, num_blocks in enumerate(stage_blocks):
            build = partial(make_stage, widths[stage], widths[stage + 1], num_blocks, 2 if stage else 1, option)
            self.add(f'layer{stage + 1}', build, stage, partial(build, groups=num_experts) if is_grouped else None)
