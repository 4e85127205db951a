"""MMEngine's EMA is the key encoder of momentum contrast, so there is none of our own."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_keys_follow_the_query_by_its_parameters_and_copy_its_buffers(dtype):
    query = network()
    keys = ExponentialMovingAverage(query, momentum=0.1)  # 1 - m of MoCo
    query, keys = query.to(dtype), keys.to(dtype)  # as a runner moves the model
    keys.update_parameters(query)  # the first update copies
    start = copy.deepcopy(query)
    for parameter in query.parameters():
        nn.init.normal_(parameter)
    query(torch.randn(8, 3, dtype=dtype))
    keys.update_parameters(query)
    torch.testing.assert_close(keys.module[0].weight.data, 0.9 * start[0].weight.data + 0.1 * query[0].weight.data)
    torch.testing.assert_close(keys.module[1].running_mean, query[1].running_mean)
    assert not any(parameter.requires_grad for parameter in keys.parameters())
