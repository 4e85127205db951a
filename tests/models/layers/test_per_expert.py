import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict as mmengine_load_state_dict
from torch import nn

from ltmm.models.layers import PerExpert
from ltmm.models.layers.per_expert import single_name


def mlp():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_experts_start_differently():
    experts = PerExpert(mlp, 3).experts
    assert not torch.equal(experts[0][0].weight, experts[1][0].weight)


def test_one_input_or_one_per_expert():
    part = PerExpert(mlp, 2)
    first, second = torch.randn(2, 4, 2)
    for inputs, expected in (([first], (first, first)), ([first, second], (first, second))):
        for out, expert, x in zip(part(inputs), part.experts, expected):
            torch.testing.assert_close(out, expert(x))
    with pytest.raises(ValueError, match='zip'):
        part([first] * 3)


@pytest.mark.parametrize('load', [lambda m, s: m.load_state_dict(s, strict=True), mmengine_load_state_dict])
def test_weights_of_a_single_network(load):
    single = nn.ModuleDict(dict(trunk=nn.Linear(2, 2), part=mlp()))
    several = nn.ModuleDict(dict(trunk=nn.Linear(2, 2), part=PerExpert(mlp, 3)))
    load(several, single.state_dict())
    for expert in several.part.experts:
        torch.testing.assert_close(expert.state_dict(), single.part.state_dict())
    assert several.part.experts[0][0].weight.data_ptr() != several.part.experts[1][0].weight.data_ptr()


def test_state_dict():
    one, other = PerExpert(mlp, 2), PerExpert(mlp, 2)
    other.load_state_dict(one.state_dict(), strict=True)
    torch.testing.assert_close(one.state_dict(), other.state_dict())


def test_weights_of_another_number_of_experts():
    with pytest.raises(
        ValueError, match='checkpoint to have 2 experts in part, like the model, but it has 3. Set num_'
    ):
        nn.ModuleDict(dict(part=PerExpert(mlp, 2))).load_state_dict(
            nn.ModuleDict(dict(part=PerExpert(mlp, 3))).state_dict()
        )


@pytest.mark.parametrize(
    'name, single',
    [
        ('backbone.layer3.experts.0.1.conv1.weight', 'backbone.layer3.1.conv1.weight'),
        ('experts.12.weight', 'weight'),
        ('backbone.conv1.weight', 'backbone.conv1.weight'),
    ],
)
def test_name_in_a_single_network(name, single):
    assert single_name(name) == single
