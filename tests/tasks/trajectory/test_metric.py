"""Errors of the best prediction, on the hardest tracks and on the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ltmm.registry import METRICS
from ltmm.tasks.trajectory import MinADEFDEMetric, hardest, min_ade_fde
from ltmm.utils.errors import InputError


def samples(num: int = 40, seed: int = 0) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    return [
        dict(
            prediction=torch.randn(3, 4, 2, generator=generator),
            future=torch.randn(4, 2, generator=generator),
            hardness=torch.tensor(float((7 * i) % num)),
            kind=i % 2,
            sample_idx=i,
        )
        for i in range(num)
    ]


def figures(data: list[dict], **kwargs) -> dict[str, float]:
    metric = METRICS.build(dict(type='ltmm.MinADEFDEMetric', **kwargs))
    metric.dataset_meta = dict(kinds=('a', 'b', 'c'))
    for start in range(0, len(data), 16):
        metric.process(None, data[start : start + 16])
    return metric.evaluate(len(data))


def test_each_error_has_its_own_best():
    prediction = torch.tensor([[[[0.0, 0], [9, 0]], [[5.0, 0], [1, 0]]]])
    ade, fde = min_ade_fde(prediction, torch.zeros(1, 2, 2))
    assert (ade.item(), fde.item()) == (3.0, 1.0)


def test_groups():
    data = samples()
    got = figures(data, percents=(5, 10))
    fde = np.array([min((x['prediction'][k, -1] - x['future'][-1]).norm().item() for k in range(3)) for x in data])
    order = sorted(range(40), key=lambda i: -float(data[i]['hardness']))
    expected = dict(top5=order[:2], top10=order[:4], rest=order[4:], all=order, a=range(0, 40, 2), b=range(1, 40, 2))
    for name, rows in expected.items():
        assert got[f'trajectory/fde_{name}'] == pytest.approx(fde[[*rows]].mean(), rel=1e-5)
    assert 'trajectory/fde_c' not in got
    assert got['trajectory/ade_all'] > 0


def test_rank_by_a_baseline(tmp_path: Path):
    data, path = samples(), str(tmp_path / 'fde.npy')
    baseline = figures(data, errors_out=path)
    written = np.load(path)
    assert written.mean() == pytest.approx(baseline['trajectory/fde_all'])
    ranked = figures(data, ranking=path, percents=(5,))
    assert ranked['trajectory/fde_top5'] == pytest.approx(np.sort(written)[-2:].mean())
    with pytest.raises(InputError, match=r'number per track \(41\), but got 40'):
        figures(samples(41), ranking=path)
    with pytest.raises(InputError, match=r'number per track \(39\), but got 40'):
        figures(samples(39), ranking=path)
    written[3] = np.nan  # of a track that the baseline was not tested on
    np.save(path, written)
    with pytest.raises(InputError, match='finite number for each track, but not for 3'):
        figures(data, ranking=path)
    np.save(path, written[None])
    with pytest.raises(InputError, match=r'one number per track, but got shape \(1, 40\)'):
        figures(data, ranking=path)


def test_hardest():
    assert hardest(np.array([1.0, 3.0, 3.0, 0.0]), 0.25).tolist() == [False, True, False, False]
    assert hardest(np.arange(1000.0), 0.01).sum() == 10 and hardest(np.arange(7.0), 0.01).sum() == 1


@pytest.mark.parametrize('percents', [(), (5, 1), (1, 1), (101,), (0,)])
def test_percents(percents: tuple):
    with pytest.raises(InputError):
        MinADEFDEMetric(percents=percents)


def test_empty_test_set():
    with pytest.raises(InputError, match='MinADEFDEMetric: the test set is empty'):
        MinADEFDEMetric().evaluate(0)
