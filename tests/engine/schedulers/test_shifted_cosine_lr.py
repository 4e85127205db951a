import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS


@pytest.mark.parametrize('reaches_zero', [False, True])
@pytest.mark.parametrize('begin', [0, 2])
def test_rates_are_one_epoch_ahead_of_the_cosine(begin, reaches_zero):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='ShiftedCosineLR', begin=begin, end=10, reaches_zero=reaches_zero),
        default_args=dict(optimizer=optimizer),
    )
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    length = 10 - begin
    cosine = [0.25 * (1 + math.cos(math.pi * (t + 1) / (length + (not reaches_zero)))) for t in range(length)]
    assert rates == pytest.approx([0.5] * begin + cosine)
