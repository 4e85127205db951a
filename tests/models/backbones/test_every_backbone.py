"""Properties of every backbone that trains."""

import pytest
import torch

from ltmm.registry import MODELS

BACKBONES = [
    dict(type='ltmm.ResNetCIFAR', depth=8),
    dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(16, 24, 48)),
    dict(type='ltmm.SHIKEResNetCIFAR', depth=8),
    dict(type='ltmm.TwoBranchResNetCIFAR', depth=8),
    dict(type='ltmm.WideResNetCIFAR', depth=10),
    dict(type='ltmm.MultiExpertResNet', depth=10, channels=(8, 8, 12, 16), num_experts=2, expert_stages=(3,)),
]


@pytest.mark.parametrize('cfg', BACKBONES, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('bfloat16', [False, True])
def test_every_parameter_has_a_gradient(cfg, bfloat16):
    net = MODELS.build(cfg)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=bfloat16):
        (features,) = net(torch.randn(4, 3, 32, 32))
    features.float().square().sum().backward()
    assert features.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize('cfg', BACKBONES[:2], ids=lambda cfg: cfg['type'])
def test_kaiming_initialization(cfg):
    net = MODELS.build(dict(cfg, depth=32))
    net.init_weights()
    last = getattr(net.layer3, 'experts', [net.layer3])
    weights = [stage[0].conv2.weight for stage in last]
    fan_in = 9 * weights[0].size(1)
    assert all(weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05) for weight in weights)
    assert all(not torch.equal(weights[0], other) for other in weights[1:])
