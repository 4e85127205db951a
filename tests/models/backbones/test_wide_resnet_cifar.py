import pytest
import torch

from ltmm.registry import MODELS


def build(**settings) -> torch.nn.Module:
    return MODELS.build(dict(type='ltmm.WideResNetCIFAR', **settings))


def test_parameters_of_wrn_28_2():
    net = build()
    assert sum(p.numel() for p in net.parameters()) == 1_467_610 - 1290  # [1], without its classifier of 10 classes
    assert net.eval()(torch.zeros(2, 3, 32, 32))[0].shape == (2, 128)


def test_raw_convolutions_only_move_statistics_of_their_norm():
    net = build(depth=10, raw_convs=True)
    (features,) = net(torch.randn(4, 3, 16, 16))
    features.square().sum().backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None}
    assert idle == {f'layer{s}.0.bn1.{part}' for s in (2, 3) for part in ('weight', 'bias')}
    assert not any(p.requires_grad for name, p in net.named_parameters() if name in idle)  # DDP waits for the others
    assert net.layer2[0].bn1.running_mean.any()
    plain = build(depth=10)
    plain.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert not torch.allclose(plain.eval()(x)[0], net.eval()(x)[0])


@pytest.mark.parametrize('settings', [dict(depth=12), dict(depth=4), dict(width=0)])
def test_bad_input(settings):
    with pytest.raises(ValueError, match='Expected `(depth|width)` to be'):
        build(**settings)
