import pytest
import torch
from mmpretrain.models.backbones import ResNet as MMPretrainResNet
from mmpretrain.models.backbones.resnet import BasicBlock

from ltmm.models.backbones import ResNet
from ltmm.registry import MODELS


def test_depth_10():
    net = MODELS.build(dict(type='ltmm.ResNet', depth=10))
    assert [len(getattr(net, name)) for name in net.res_layers] == [1, 1, 1, 1]
    assert isinstance(net.layer1[0], BasicBlock)
    assert sum(p.numel() for p in net.parameters()) == 4_905_792


def test_depth_10_gives_512_channels_at_a_32nd_of_the_resolution():
    assert ResNet(10)(torch.randn(1, 3, 64, 64))[0].shape == (1, 512, 2, 2)


def test_other_depths_as_in_mmpretrain():
    ours, theirs = ResNet(18).state_dict(), MMPretrainResNet(18).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_mmpretrain_is_unchanged():
    assert 10 not in MMPretrainResNet.arch_settings
    with pytest.raises(KeyError, match='invalid depth 11'):
        ResNet(11)
