import math

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.post_process import TemperatureScaling, fit_temperature
from ltmm.models.post_process.temperature_scaling import weighted_nll


def test_changes_confidence_but_no_prediction(head, features):
    score = head.fc(features)
    scaled = TemperatureScaling(2.0)(score, None, head)
    torch.testing.assert_close(scaled, score / 2)
    assert torch.equal(scaled.argsort(1), score.argsort(1))
    assert (scaled.softmax(1).max(1).values < score.softmax(1).max(1).values).all()


@pytest.mark.parametrize('loss', ['nll', 'mse'])
def test_fitted_temperature_is_the_best(loss):
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(200, 5, generator=generator, dtype=torch.float64)
    label = (logits / 3).softmax(1).multinomial(1, generator=generator)[:, 0]
    weight, offset = torch.rand(200, generator=generator), torch.arange(5.0) / 5
    value = {
        'nll': lambda z: weighted_nll(z, label, weight),
        'mse': lambda z: (z.softmax(1) - F.one_hot(label, 5)).square().mean(),
    }[loss]
    grid = torch.arange(1, 5, 0.001).tolist()
    best = grid[int(torch.stack([value(logits / t + offset) for t in grid]).argmin())]
    got = fit_temperature(logits, label, weight if loss == 'nll' else None, offset, loss)
    assert got == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize(('sign', 'expected'), [(1, 0.05), (-1, 5.0)])
def test_temperature_stays_in_its_bounds(sign, expected):
    label = torch.arange(4)  # all right, or all wrong: no finite temperature is best
    assert fit_temperature(sign * torch.eye(4), label) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(('bounds', 'expected'), [((0.05, 5), 2.0), ((2.5, 4), 2.5), ((0.5, 1.5), 1.5)])
def test_fitted_temperature_stays_in_its_bounds(bounds, expected):
    logits = torch.tensor([[2 * math.log(3), 0.0]]).repeat(4, 1)  # the first class in 3 of 4 samples: T = 2
    assert fit_temperature(logits, torch.tensor([0, 0, 0, 1]), bounds=bounds) == pytest.approx(expected, rel=1e-2)
