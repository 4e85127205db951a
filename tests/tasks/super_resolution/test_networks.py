import pytest
import torch
from torch import nn

from ltmm.registry import MODELS
from ltmm.tasks.super_resolution import CARNM, FSRCNN
from ltmm.utils.errors import InputError

SMALL = {
    'FSRCNN': dict(dim=8, shrunk_dim=4, num_mappings=2),
    'CARNM': dict(dim=8),
    'SRResNet': dict(dim=8, num_blocks=2),
    'MSRN': dict(dim=8, num_blocks=2),
}
SIZES = dict(FSRCNN=24_515, CARNM=294_147, SRResNet=1_517_571, MSRN=6_078_019)  # with the papers' widths


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_output_size_and_gradients(name, scale):
    net = MODELS.build(dict(type=f'ltmm.{name}', scale=scale, in_channels=1, **SMALL[name]))
    output = net(torch.rand(2, 1, 5, 7))
    assert output.shape == (2, 1, scale * 5, scale * 7)
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize('name', SIZES)
def test_number_of_parameters(name):
    with torch.device('meta'):
        net = MODELS.build(dict(type=f'ltmm.{name}'))
    assert sum(p.numel() for p in net.parameters()) == SIZES[name]


def test_fsrcnn_by_layers():
    net = FSRCNN(dim=6, shrunk_dim=3, num_mappings=3)
    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.PReLU))]
    kinds = ''.join('p' if isinstance(layer, nn.PReLU) else 'c' for layer in layers)
    assert kinds == 'cpcpcccpcpc'  # no activation between the mapping layers
    assert all(layer.weight.numel() == 1 for layer in layers if isinstance(layer, nn.PReLU))
    x = torch.rand(1, 3, 6, 6)
    expected = x
    for layer in layers:
        expected = layer(expected)
    torch.testing.assert_close(net(x), expected)


def test_weights_are_small_at_the_start():
    torch.manual_seed(0)
    layer = FSRCNN().features[0]
    expected = 0.1 * (2 / (3 * 5 * 5)) ** 0.5
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.05) and not layer.bias.any()


def test_carn_m_shares_the_blocks_of_a_cascade():
    cascade = CARNM(dim=8).body[1].stages[0]
    assert len({id(stage) for stage in cascade.stages}) == 1 and len(cascade.stages) == 3


def test_carn_m_by_hand():
    net = CARNM(dim=8).body
    x = net[0](torch.rand(1, 3, 4, 4))
    outer, seen = x, x
    for block, fuse in zip(net[1].stages, net[1].fuse):
        inner, inputs = outer, outer
        for one, inner_fuse in zip(block.stages, block.fuse):
            inner = torch.cat([inner, (one.body(inputs) + inputs).relu()], 1)
            inputs = inner_fuse(inner)
        seen = torch.cat([seen, inputs], 1)
        outer = fuse(seen)
    torch.testing.assert_close(net[1](x), outer)


@pytest.mark.parametrize('name, scale', [('FSRCNN', 10), ('CARNM', 5), ('SRResNet', 6), ('MSRN', 0)])
def test_invalid_scale(name, scale):
    with pytest.raises(InputError, match='scale'):
        MODELS.build(dict(type=f'ltmm.{name}', scale=scale))
