import pytest
import torch
from torch import nn

from ltmm.models.heads import LongTailClsHead
from ltmm.models.layers import ScaledLinear
from ltmm.registry import MODELS


@pytest.mark.parametrize('bias', [True, False])
def test_formula(bias):
    layer = ScaledLinear(6, 4, bias)
    layer.scale.data = torch.tensor([0.5, 1.0, 2.0, -1.0])
    x = torch.randn(5, 6)
    logits = layer(x)
    for i in range(5):
        for c in range(4):
            expected = layer.scale[c] * (layer.weight[c] @ x[i] + (layer.bias[c] if bias else 0))
            torch.testing.assert_close(logits[i, c], expected)


def test_weights_of_a_linear_layer():
    linear, layer = nn.Linear(6, 4), MODELS.build(dict(type='ltmm.ScaledLinear', in_features=6, out_features=4))
    missing = layer.load_state_dict(linear.state_dict(), strict=False).missing_keys
    x = torch.randn(3, 6)
    assert missing == ['scale']
    torch.testing.assert_close(layer(x), linear(x))


def test_only_scales_learn():
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.ScaledLinear'))
    head.init_weights()
    head.fc.weight.requires_grad_(False)
    head.fc.bias.requires_grad_(False)
    head((torch.randn(3, 6),)).sum().backward()
    assert head.fc.scale.grad.abs().min() > 0
    assert head.fc.scale.tolist() == [1.0] * 4


def test_mixed_precision():
    with torch.autocast('cpu', torch.bfloat16):
        assert ScaledLinear(6, 4)(torch.randn(3, 6)).isfinite().all()
