import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS


@pytest.mark.parametrize('reaches_zero', [False, True])
@pytest.mark.parametrize('ahead', [1, 3])
@pytest.mark.parametrize('begin', [0, 2])
def test_rates_are_ahead_of_the_cosine(begin, ahead, reaches_zero):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='ShiftedCosineLR', begin=begin, end=10, ahead=ahead, reaches_zero=reaches_zero),
        default_args=dict(optimizer=optimizer),
    )
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    length = 10 - begin
    end = length if reaches_zero else length + ahead
    cosine = [0.25 * (1 + math.cos(math.pi * (t + ahead) / end)) for t in range(length)]
    assert rates == pytest.approx([0.5] * begin + cosine)
