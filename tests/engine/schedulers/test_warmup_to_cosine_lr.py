import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.errors import InputError


def rates(num_epochs: int, length: int, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    cfg = dict(type='WarmupToCosineLR', end=num_epochs, convert_to_iter_based=True, epoch_length=length, **options)
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=optimizer))
    got = []
    for _ in range(num_epochs * length):
        got.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return got


def cosine(epoch: int, num_epochs: int, floor: float) -> float:
    return floor + (0.5 - floor) * (1 + math.cos(math.pi * epoch / num_epochs)) / 2


def test_rises_to_the_cosine_of_the_whole_training():
    got = rates(20, 4, warmup_epochs=5)
    top = cosine(5, 20, 5e-5)
    assert got[:20] == pytest.approx([0.01 + step / 20 * (top - 0.01) for step in range(20)])
    assert got[20:] == pytest.approx([cosine(epoch, 20, 5e-5) for epoch in range(5, 20) for _ in range(4)])
    assert min(got) > 0


def test_as_published():
    """The figures of the warm-up of SBCL: -0.039 in the first of 11 iterations, 0.0055 in the last, then 0.01."""
    got = rates(1000, 11, as_published=True)
    assert got[0] == pytest.approx(-0.039, abs=1e-4) and got[10] == pytest.approx(0.0055, abs=1e-4)
    assert got[11] == pytest.approx(0.01) and sum(rate < 0 for rate in got) == 9
    assert got[110] == pytest.approx(0.451, abs=1e-3) and got[120] == pytest.approx(0.495, abs=1e-3)
    assert got[121] == pytest.approx(cosine(11, 1000, 5e-5))


def test_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(InputError, match='warmup_epochs below its 5 epochs, but got 5'):
        rates(5, 4, warmup_epochs=5)


def test_needs_iterations():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    with pytest.raises(InputError, match='convert_to_iter_based=True'):
        PARAM_SCHEDULERS.build(dict(type='WarmupToCosineLR', end=3), default_args=dict(optimizer=optimizer))
