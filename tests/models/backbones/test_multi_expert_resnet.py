import pytest
import torch
from mmpretrain.models.backbones import ResNet as MMPretrainResNet
from mmpretrain.models.backbones import ResNeXt as MMPretrainResNeXt

from ltmm.models.backbones import MultiExpertResNet, MultiExpertResNeXt
from ltmm.registry import MODELS

NARROW = (64, 128, 192, 384)


def build(name, **options):
    with torch.device('meta'):  # shapes only
        return MODELS.build(dict(type=f'ltmm.{name}', **options))


@pytest.mark.parametrize(
    'name, options, num_classes, parameters',
    [
        ('MultiExpertResNet', dict(depth=50, channels=NARROW), 1000, 43_677_248),
        ('MultiExpertResNet', dict(depth=50), 1000, 73_778_240),
        ('MultiExpertResNet', dict(depth=50, channels=NARROW), 8142, 76_587_584),
        ('MultiExpertResNet', dict(depth=50, num_experts=1), 1000, 25_556_032),
        ('MultiExpertResNet', dict(depth=50, expert_stages=(3,)), 1000, 59_581_504),  # TLC
        ('MultiExpertResNet', dict(depth=152), 365, 171_543_616),
        ('MultiExpertResNeXt', dict(depth=50, channels=NARROW), 1000, 42_889_024),
        ('MultiExpertResNeXt', dict(depth=50), 1000, 72_258_880),
    ],
)
def test_parameters_of_the_authors_networks(name, options, num_classes, parameters):
    net = build(name, **options)
    width = 4 * options.get('channels', (64, 128, 256, 512))[-1]
    classifiers = net.num_experts * width * num_classes
    assert sum(p.numel() for p in net.parameters()) + classifiers == parameters


@pytest.mark.parametrize(
    'name, stages',
    [
        ('MultiExpertResNet', dict(layer1=215_808, layer2=1_219_584, layer3=12_358_656, layer4=25_265_664)),
        ('MultiExpertResNeXt', dict(layer1=205_824, layer2=1_197_056, layer3=12_307_968, layer4=24_560_640)),
    ],
)
def test_parameters_by_stage(name, stages):
    net = build(name, depth=50, channels=NARROW)
    assert {stage: sum(p.numel() for p in getattr(net, stage).parameters()) for stage in stages} == stages


@pytest.mark.parametrize(
    'multi, single', [(MultiExpertResNet, MMPretrainResNet), (MultiExpertResNeXt, MMPretrainResNeXt)]
)
def test_weights_of_mmpretrain(multi, single):
    single = single(50)
    single.eval()
    net = multi(50, num_experts=2).eval()
    net.load_state_dict(single.state_dict(), strict=True)
    x = torch.randn(1, 3, 32, 32)
    expected = single(x)[0].mean((2, 3))
    for features in net(x)[0]:
        torch.testing.assert_close(features, expected)


def test_pretrained_init_cfg(tmp_path):
    single = MMPretrainResNet(18)
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in single.state_dict().items()}), tmp_path / 'r18.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'r18.pth'), prefix='backbone.')
    net = MultiExpertResNet(18, num_experts=2, init_cfg=init_cfg)
    net.init_weights()
    for expert in net.layer4.experts:
        torch.testing.assert_close(expert.state_dict(), single.layer4.state_dict())
