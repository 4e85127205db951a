import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS


@pytest.mark.parametrize('begin', [0, 2])
def test_rates_are_one_epoch_ahead_of_the_cosine(begin):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='ShiftedCosineLR', begin=begin, end=10), default_args=dict(optimizer=optimizer)
    )
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    length = 10 - begin
    cosine = [0.25 * (1 + math.cos(math.pi * (t + 1) / (length + 1))) for t in range(length)]
    assert rates == pytest.approx([0.5] * begin + cosine)
