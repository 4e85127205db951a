import pytest
import torch

from ltmm.models.backbones import SHIKEResNetCIFAR
from ltmm.registry import MODELS


@pytest.mark.parametrize('num_classes, parameters', [(10, 1_242_448), (100, 1_277_008)])
def test_parameters_of_the_authors_network(num_classes, parameters):
    net = MODELS.build(dict(type='ltmm.SHIKEResNetCIFAR'))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert (counts['layer2'], counts['layer3'], counts['shallow']) == (88_768, 1_060_992, 65_024)
    assert sum(counts.values()) + 2 * 3 * 64 * num_classes == parameters  # two sets of classifiers


def test_features():
    net = SHIKEResNetCIFAR(8).eval()
    x = torch.randn(2, 3, 32, 32)
    first, second, deep = net.stage_maps(x)
    for e, features in enumerate(net(x)[0]):
        shallow = net.shallow[e]((first, second)[e % 2][0])
        torch.testing.assert_close(features, (deep[e] * shallow).mean((2, 3)))


def test_initialization_of_the_shallow_branches():
    """As PyTorch draws them, uniform up to 1 / sqrt(fan_in); the other convolutions are wider."""
    net = SHIKEResNetCIFAR(8)
    net.init_weights()
    for branch in net.shallow:
        weight, bound = branch[0].weight, branch[0].weight[0].numel() ** -0.5
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_depths_alternate():
    convolutions = [
        sum(layer.__class__.__name__ == 'Conv2d' for layer in branch) for branch in SHIKEResNetCIFAR().shallow
    ]
    assert convolutions == [2, 1, 2]
