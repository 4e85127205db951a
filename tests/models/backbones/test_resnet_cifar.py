import pytest
import torch

from ltmm.models.backbones import ResNetCIFAR
from ltmm.models.backbones.resnet_cifar import fast_layout
from ltmm.registry import MODELS


@pytest.mark.parametrize(('depth', 'parameters'), [(20, 269_072), (32, 463_504), (44, 657_936), (56, 852_368)])
def test_parameters_of_the_paper(depth, parameters):
    """He et al.'s table 6 says 0.27M, 0.46M, 0.66M, 0.85M, with 650 in the classifier."""
    assert sum(p.numel() for p in ResNetCIFAR(depth).parameters()) == parameters


def test_features():
    features = MODELS.build(dict(type='ltmm.ResNetCIFAR', depth=8))(torch.randn(2, 3, 32, 32))
    assert [f.shape for f in features] == [(2, 64)]


def test_maps_pooled_afterwards_are_the_features():
    net, images = ResNetCIFAR(8), torch.randn(2, 3, 32, 32)
    maps = ResNetCIFAR(8, pooled=False)
    maps.load_state_dict(net.state_dict())
    torch.testing.assert_close(maps(images)[0].mean(dim=(2, 3)), net(images)[0])


def test_other_widths_and_channels():
    net = ResNetCIFAR(8, channels=(4, 6, 12), in_channels=1)
    assert net(torch.randn(2, 1, 28, 28))[0].shape == (2, 12)


def test_strides():
    net = ResNetCIFAR(20)
    strides = [[block.conv1.stride[0] for block in getattr(net, f'layer{stage}')] for stage in (1, 2, 3)]
    assert strides == [[1, 1, 1], [2, 1, 1], [2, 1, 1]]


def test_stem_stride():
    sizes = {}
    for side, stride in ((32, 1), (64, 2)):
        net = ResNetCIFAR(8, stem_stride=stride)
        net.layer3.register_forward_hook(lambda module, inputs, output, side=side: sizes.update({side: output.shape}))
        net(torch.randn(2, 3, side, side))
    assert sizes[64] == sizes[32] == (2, 64, 8, 8)


def test_shortcut():
    block = ResNetCIFAR(8).layer2[0]
    x = torch.randn(2, 16, 8, 8)
    shortcut = block.shortcut(x)
    assert shortcut.shape == (2, 32, 4, 4)
    torch.testing.assert_close(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert not shortcut[:, :8].any() and not shortcut[:, 24:].any()


def test_shortcut_to_an_odd_number_of_channels():
    assert ResNetCIFAR(8, channels=(4, 7, 12)).layer2[0].shortcut(torch.randn(1, 4, 8, 8)).shape == (1, 7, 4, 4)


def test_memory_format():
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(fast_layout(x), x, rtol=0, atol=0)
    assert fast_layout(x).is_contiguous(memory_format=torch.channels_last)
