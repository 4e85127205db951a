import torch

from ltmm.models.backbones import ResNetCIFAR, TwoBranchResNetCIFAR


def test_equals_the_network_that_it_doubles_in_each_half():
    net, images = TwoBranchResNetCIFAR(depth=14).eval(), torch.randn(2, 3, 32, 32)
    (features,) = net(images)
    assert features.shape == (2, 128)
    for half, branch in zip(features.chunk(2, dim=1), net.branches):
        single = ResNetCIFAR(depth=14).eval()
        weights = {name: value for name, value in net.state_dict().items() if not name.startswith('branches')}
        weights |= {f'layer3.1.{name}': value for name, value in branch.state_dict().items()}
        single.load_state_dict(weights)
        torch.testing.assert_close(single(images)[0], half)
    assert not torch.equal(*features.chunk(2, dim=1))


def test_number_of_blocks():
    blocks = {
        depth: [len(getattr(TwoBranchResNetCIFAR(depth), f'layer{s}')) for s in (1, 2, 3)] for depth in (8, 14, 32)
    }
    assert blocks == {8: [1, 1, 1], 14: [2, 2, 1], 32: [5, 5, 4]}
