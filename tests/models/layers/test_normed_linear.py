import pytest
import torch

from ltmm.models.layers import NormedLinear
from ltmm.registry import MODELS


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_formula(dtype, scale):
    layer = NormedLinear(5, 3, scale).to(dtype)
    layer.weight.data *= torch.tensor([[1.0], [7.0], [0.1]])
    x = torch.randn(4, 5, dtype=dtype)
    expected = [[scale * torch.dot(f, w) / (f.norm() * w.norm()) for w in layer.weight.detach()] for f in x]
    torch.testing.assert_close(layer(x), torch.tensor(expected, dtype=dtype))


def test_bias():
    layer, plain = NormedLinear(5, 3, scale=16, bias=True), NormedLinear(5, 3, scale=16)
    assert plain.bias is None and plain.state_dict().keys() == {'weight'} and not layer.bias.any()
    layer.load_state_dict(plain.state_dict() | dict(bias=torch.tensor([1.0, 2.0, 3.0])))
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), plain(x) + torch.tensor([1.0, 2.0, 3.0]))


def test_lengths_do_not_matter():
    layer, x = NormedLinear(5, 3).double(), torch.randn(4, 5, dtype=torch.float64)
    before = layer(x)
    layer.weight.data[1] *= 1e4
    torch.testing.assert_close(layer(x * 1e-3), before)


def test_initial_weights():
    weight = NormedLinear(64, 10).weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(10))
    assert (weight @ weight.T - torch.eye(10)).abs().max() < 0.7


def test_feature_of_zeros():
    layer, x = NormedLinear(5, 3), torch.zeros(2, 5, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert not out.any()
    assert x.grad.isfinite().all() and layer.weight.grad.isfinite().all()


def test_mixed_precision():
    layer, x = NormedLinear(16, 3, scale=30), torch.randn(4, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = layer(x)
    torch.testing.assert_close(out.float(), layer(x), atol=0.3, rtol=0)


def test_is_built_by_name():
    layer = MODELS.build(dict(type='ltmm.NormedLinear', in_features=5, out_features=3, scale=16))
    assert layer(torch.randn(2, 5)).shape == (2, 3)
    assert str(layer) == 'NormedLinear(in_features=5, out_features=3, scale=16, bias=False)'
