import copy

import pytest
import torch
from torch import nn

from ltmm.models.state import KeyEncoder


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_parameters_follow_and_statistics_are_the_own_ones(dtype):
    query = network()
    keys = KeyEncoder(query, momentum=0.9)
    nn.init.normal_(query[0].weight)  # as `init_weights` does later
    query, keys = query.to(dtype), keys.to(dtype)
    keys.update(query)
    torch.testing.assert_close(keys.module[0].weight.data, query[0].weight.data, rtol=0, atol=0)
    start = copy.deepcopy(query)
    for parameter in query.parameters():
        nn.init.normal_(parameter)
    query(torch.randn(8, 3, dtype=dtype))
    images = torch.randn(8, 3, dtype=dtype)
    keys(images)
    keys.update(query)
    for key, old, new in zip(keys.parameters(), start.parameters(), query.parameters(), strict=True):
        torch.testing.assert_close(key.data, 0.9 * old.data + 0.1 * new.data)
    torch.testing.assert_close(keys.module[1].running_mean, 0.1 * start[0](images).mean(0).detach())
    assert not any(parameter.requires_grad for parameter in keys.parameters())


def test_resume_goes_on_averaging():
    query, fresh = network(), network()
    keys, resumed = KeyEncoder(query, 0.9), KeyEncoder(fresh, 0.9)
    keys.update(query)
    resumed.load_state_dict(keys.state_dict())
    for each in (keys, resumed):
        each.update(fresh)
    torch.testing.assert_close(resumed.state_dict(), keys.state_dict(), rtol=0, atol=0)
    assert not torch.equal(resumed.module[0].weight, fresh[0].weight)


def test_evaluation_mode_changes_nothing():
    query = network()
    keys = KeyEncoder(query, 0.9).eval()
    before = copy.deepcopy(keys.state_dict())
    nn.init.normal_(query[0].weight)
    keys.update(query)
    torch.testing.assert_close(keys.state_dict(), before, rtol=0, atol=0)
