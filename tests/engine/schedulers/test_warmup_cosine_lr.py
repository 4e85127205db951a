import math

import pytest
import torch

from ltmm.registry import PARAM_SCHEDULERS
from ltmm.utils.errors import InputError


def rates(length: int, **options) -> list[tuple[float, float]]:
    """Rates of two parts of a model over a run."""
    parts = [dict(params=[torch.zeros(1, requires_grad=True)], lr=lr) for lr in (0.5, 5.0)]
    optimizer = torch.optim.SGD(parts, lr=0.5)
    cfg = dict(type='WarmupCosineLR', end=length, by_epoch=False, **options)
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=optimizer))
    got = []
    for _ in range(length):
        got.append(tuple(group['lr'] for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    return got


@pytest.mark.parametrize('length', [1, 3, 10, 400])
@pytest.mark.parametrize('share', [0.0, 0.1, 0.25])
def test_warm_up_is_a_share_of_the_run(length, share):
    warmup = math.floor(share * length)
    expected = [(t + 1) / (warmup + 1) for t in range(warmup)]
    expected += [(1 + math.cos(math.pi * t / (length - warmup))) / 2 for t in range(length - warmup)]
    first, second = zip(*rates(length, warmup=share))
    assert first == pytest.approx([0.5 * factor for factor in expected])
    assert second == pytest.approx([5.0 * factor for factor in expected])
    assert max(first) == pytest.approx(0.5)


@pytest.mark.parametrize('share', [1.0, -0.1])
def test_invalid_shares(share):
    with pytest.raises(InputError, match='warmup'):
        rates(3, warmup=share)
