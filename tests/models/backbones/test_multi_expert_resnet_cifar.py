import copy

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.backbones import MultiExpertResNetCIFAR, ResNetCIFAR
from ltmm.models.layers import PerExpert
from ltmm.registry import MODELS

NARROW = (16, 24, 48)


def num_parameters(backbone: dict, num_classes: int, with_bias: bool = False) -> int:
    """Parameters of a backbone and its classifiers."""
    net = MODELS.build(backbone)
    num_experts, width = net(torch.zeros(1, 3, 32, 32))[0].shape[::2]
    return sum(p.numel() for p in net.parameters()) + num_experts * num_classes * (width + with_bias)


@pytest.mark.parametrize(
    'options, c10, c100',
    [
        (dict(channels=NARROW, num_experts=2), 521_872, 530_512),  # RIDE, SADE, MDCS
        (dict(channels=NARROW, num_experts=3), 770_896, 783_856),
        (dict(channels=NARROW, num_experts=4), 1_019_920, 1_037_200),
        (dict(channels=NARROW, num_experts=6), 1_517_968, 1_543_888),
        (dict(num_experts=3), 1_344_784, 1_362_064),  # BalPoE
        (dict(num_experts=3, shortcut='concat'), 1_344_784, 1_362_064),  # LGLA
        (dict(num_experts=3, expert_stages=(0, 1, 2)), 1_391_504, 1_408_784),  # TLC
        (dict(num_experts=1), 464_144, 469_904),  # a single network with a cosine classifier
        (dict(num_experts=3, expert_stages=(0, 1, 2), separate_stem=True), 3 * 464_144, 3 * 469_904),
    ],
)
def test_parameters_of_the_authors_networks(options, c10, c100):
    backbone = dict(type='ltmm.MultiExpertResNetCIFAR', **options)
    assert num_parameters(backbone, 10) == c10
    assert num_parameters(backbone, 100) == c100


def test_parameters_by_stage():
    net = MultiExpertResNetCIFAR(channels=NARROW, num_experts=3)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert counts == dict(conv1=432, bn1=32, relu=0, layer1=23_360, layer2=151_776, layer3=593_856)


@pytest.mark.parametrize('expert_stages', [(), (2,), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize('separate_stem', [False, True])
def test_separate_stages(expert_stages, separate_stem):
    net = MultiExpertResNetCIFAR(8, num_experts=2, expert_stages=expert_stages, separate_stem=separate_stem)
    (features,) = net(torch.randn(3, 3, 32, 32))
    assert features.shape == (2, 3, 64)
    assert torch.equal(*features) == (not expert_stages and not separate_stem)
    separate = {name for name, part in net.named_children() if isinstance(part, PerExpert)}
    stem = {'conv1', 'bn1', 'relu'} if separate_stem else set()
    assert separate == {f'layer{stage + 1}' for stage in expert_stages} | stem


def test_all_separate_equals_single_networks():
    nets = [ResNetCIFAR(8) for _ in range(2)]
    together = MultiExpertResNetCIFAR(8, num_experts=2, expert_stages=(0, 1, 2), separate_stem=True)
    for e, net in enumerate(nets):
        for name, part in together.named_children():
            if name != 'relu':
                part.experts[e].load_state_dict(getattr(net, name).state_dict())
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(together(x)[0], torch.stack([net(x)[0] for net in nets]))


@pytest.mark.parametrize('expert_stages', [(), (2,), (1, 2), (0, 1, 2)])
def test_weights_of_a_single_network(expert_stages):
    single = ResNetCIFAR(8)
    single.train()(torch.randn(8, 3, 32, 32))  # running statistics that are not the initial ones
    net = MultiExpertResNetCIFAR(8, num_experts=3, expert_stages=expert_stages)
    net.load_state_dict(single.state_dict(), strict=True)
    x = torch.randn(2, 3, 32, 32)
    for features in net.eval()(x)[0]:
        torch.testing.assert_close(features, single.eval()(x)[0])


def test_shared_statistics_are_updated_once():
    net = MultiExpertResNetCIFAR(8)
    net(torch.randn(4, 3, 32, 32))
    assert net.bn1.num_batches_tracked == 1
    assert [expert[0].bn1.num_batches_tracked for expert in net.layer2.experts] == [1, 1, 1]


def test_shortcut_b():
    block = MultiExpertResNetCIFAR(8, shortcut='B', expert_stages=()).layer2[0]
    x = torch.randn(2, 16, 8, 8)
    conv, norm = block.eval().shortcut
    expected = F.batch_norm(
        F.conv2d(x, conv.weight, stride=2), norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    torch.testing.assert_close(block.shortcut(x), expected)


def test_concatenated_shortcut_carries_channels_across():
    """Of three experts only the outer ones reach another: their middle channels land on the inner one."""
    net, x = MultiExpertResNetCIFAR(8, shortcut='concat').eval(), torch.randn(2, 3, 32, 32)
    (before,) = net(x)
    reached = torch.zeros(3, 3, dtype=torch.bool)
    for e in range(3):
        changed = copy.deepcopy(net)
        changed.layer2.module[0].bn2.weight.data[32 * e : 32 * (e + 1)] *= 2
        reached[e] = (changed(x)[0] - before).abs().amax((1, 2)) > 0
    assert reached.tolist() == [[True, True, False], [False, True, False], [False, True, True]]


def test_grouped_experts_without_a_change_of_shape_are_separate():
    """Where all shortcuts are identities, grouped convolutions equal separate ones."""
    kwargs = dict(stage_blocks=[1, 2], channels=(16, 16), num_experts=2, expert_stages=(0,))
    grouped, separate = (MultiExpertResNetCIFAR(shortcut=s, **kwargs) for s in ('concat', 'A'))
    state = grouped.state_dict()
    for e, expert in enumerate(separate.layer1.experts):
        for name, value in expert.state_dict().items():
            whole = state[f'layer1.module.{name}']
            value.copy_(whole.chunk(2)[e] if whole.dim() else whole)
    for name in ('conv1', 'bn1', 'layer2'):
        getattr(separate, name).load_state_dict(getattr(grouped, name).state_dict())
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(separate(x)[0], grouped(x)[0])


@pytest.mark.parametrize('expert_stages', [(2,), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize('separate_stem', [False, True])
def test_experts_one_by_one(expert_stages, separate_stem):
    net = MultiExpertResNetCIFAR(8, num_experts=2, expert_stages=expert_stages, separate_stem=separate_stem).eval()
    x = torch.randn(3, 3, 32, 32)
    shared = net.shared_map(x)
    torch.testing.assert_close(torch.stack([net.expert_features(shared, e) for e in range(2)]), net(x)[0])
