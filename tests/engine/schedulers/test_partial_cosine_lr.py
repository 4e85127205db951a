import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS


@pytest.mark.parametrize('fraction', [7 / 16, 0.25])
@pytest.mark.parametrize('begin', [0, 2])
def test_rates_follow_the_start_of_a_cosine(begin, fraction):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.03)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='PartialCosineLR', begin=begin, end=10, fraction=fraction, by_epoch=False),
        default_args=dict(optimizer=optimizer),
    )
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    cosine = [0.03 * math.cos(fraction * math.pi * t / (10 - begin)) for t in range(10 - begin)]
    assert rates == pytest.approx([0.03] * begin + cosine)


def test_epochs_are_converted_to_iterations():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.03)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='PartialCosineLR', begin=1, end=5, convert_to_iter_based=True, epoch_length=3),
        default_args=dict(optimizer=optimizer),
    )
    assert (scheduler.begin, scheduler.end, scheduler.by_epoch) == (3, 15, False)


def test_bad_input():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.03)
    with pytest.raises(ValueError, match='at most 1/2, where the rate is 0, but got 0.7'):
        PARAM_SCHEDULERS.build(dict(type='PartialCosineLR', fraction=0.7), default_args=dict(optimizer=optimizer))
