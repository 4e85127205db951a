import torch

from ltmm.registry import MODELS


def test_predicts_by_its_own_weights():
    layer = MODELS.build(dict(type='ltmm.TwoBranchLinear', in_features=4, out_features=3))
    x = torch.randn(2, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
    names = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert names == {'weight': (3, 4), 'bias': (3,), 'uniform.weight': (3, 4), 'uniform.bias': (3,)}
    assert not torch.equal(layer.uniform.weight, layer.weight)


def test_without_bias():
    layer = MODELS.build(dict(type='ltmm.TwoBranchLinear', in_features=4, out_features=3, bias=False))
    assert layer.bias is None and layer.uniform.bias is None
