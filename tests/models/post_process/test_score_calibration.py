"""Calibrations of probabilities: ETS, isotonic regression, histogram binning."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.evaluation.functional import calibration_bins, expected_calibration_error
from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import EnsembleTemperatureScaling, HistogramBinning, IsotonicCalibration
from ltmm.models.post_process.ensemble_temperature_scaling import fit_mixture
from ltmm.models.post_process.histogram_binning import bin_frequencies
from ltmm.models.post_process.isotonic_calibration import interpolate, isotonic_knots

STEPS = dict(
    ets=EnsembleTemperatureScaling,
    irm=IsotonicCalibration,
    irova=lambda: IsotonicCalibration(per_class=True),
    irovats=lambda: IsotonicCalibration(per_class=True, after_temperature=True),
    histogram=HistogramBinning,
)


def sample(num, seed):
    """Logits three times too large, and labels of the right ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(num, 4, generator=generator)
    return 3 * logits.double(), logits.softmax(1).multinomial(1, generator=generator)[:, 0]


def calibration_error(logits, label):
    confidence, pred = logits.double().softmax(1).max(1)
    return expected_calibration_error(calibration_bins(confidence.clamp(max=1).numpy(), (pred == label).numpy(), 15))


@pytest.mark.parametrize('name', STEPS)
def test_calibrates(name):
    step = STEPS[name]()
    step.fit_scores(*sample(4000, 0))
    logits, label = sample(4000, 1)
    new = step(logits, None, None)
    assert calibration_error(logits, label) > 0.15 and calibration_error(new, label) < 0.045
    if name in ('ets', 'irm'):  # keep the predicted class
        assert (new.argmax(1) == logits.argmax(1)).float().mean() == 1


@pytest.mark.parametrize('name', STEPS)
def test_softmax_gives_the_calibrated_scores_divided_by_their_sum(name):
    step = STEPS[name]()
    step.fit_scores(*sample(300, 0))
    logits = sample(50, 1)[0]
    p = step.calibrate(logits)
    torch.testing.assert_close(step(logits, None, None).softmax(1), p / p.sum(1, keepdim=True), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('name', STEPS)
def test_hard_cases_stay_finite(name, make_split):
    step = STEPS[name]()
    val = make_split([7, 5, 1, 0])  # a class without validation images
    step.fit(None, val)
    logits = torch.cat([val.logits, torch.tensor([[1e4, -1e4, 0, 0], [0.0, 0, 0, 1e4]])])
    assert step(logits, None, None).isfinite().all()
    with torch.autocast('cpu', torch.bfloat16):
        low = step(logits.bfloat16(), None, None)
    assert low.isfinite().all()


@pytest.mark.parametrize('name', STEPS)
def test_unfitted_and_sigmoids_are_refused(name):
    with pytest.raises(RuntimeError, match='is not fitted. Load a checkpoint written by'):
        STEPS[name]()(torch.zeros(1, 4), None, None)
    with pytest.raises(TypeError, match='uses sigmoids'):
        STEPS[name]().check(LongTailClsHead(4, 6, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=2)))


def test_mixture_has_the_least_error_on_the_simplex():
    logits, label = sample(300, 0)
    parts = torch.stack([(logits / 3).softmax(1), logits.softmax(1), torch.full((300, 4), 0.25).double()])
    target = F.one_hot(label, 4)
    grid = [(a / 20, b / 20, 1 - (a + b) / 20) for a in range(21) for b in range(21 - a)]
    errors = [float((torch.einsum('p,pnc->nc', parts.new_tensor(w), parts) - target).square().mean()) for w in grid]
    weight = fit_mixture(zip(parts.split(128, 1), label.split(128)))
    assert float((torch.einsum('p,pnc->nc', weight, parts) - target).square().mean()) <= min(errors) + 1e-7
    assert weight.sum() == pytest.approx(1) and (weight >= 0).all()


def test_isotonic_knots():
    x = np.array([0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    y = np.array([0, 1, 1, 0, 0, 1, 1])
    # blocks: 0.1 (0.5); 0.2, 0.3, 0.4 pool to 1/3 < 0.5 and so with 0.1 to 2/5; 0.5 and 0.6 (1)
    np.testing.assert_allclose(isotonic_knots(x, y), [[0.1, 0.4, 0.5, 0.6], [0.4, 0.4, 1, 1]])


def test_isotonic_regression_is_the_min_max_of_the_means():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 40, 200) / 40, rng.integers(0, 2, 200)  # with ties
    order = np.unique(x)
    means = np.array([[y[(x >= a) & (x <= b)].mean() if a <= b else np.inf for b in order] for a in order])
    expected = [max(means[a, i:].min() for a in range(i + 1)) for i in range(len(order))]
    knots = torch.from_numpy(np.ascontiguousarray(isotonic_knots(x, y)))[:, None]  # (2, 1, K)
    got = interpolate(torch.from_numpy(order)[None], knots)[0]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    assert 3 < knots.size(2) < len(order)


@pytest.mark.parametrize('name', ['ets', 'irm'])
def test_old_scipy_is_refused(name, monkeypatch):
    monkeypatch.setattr('scipy.__version__', '1.11.4')
    monkeypatch.setattr('ltmm.utils.environment._requirements', lambda: {'scipy': '>=1.12'})
    with pytest.raises(RuntimeError, match='Expected scipy >=1.12, but found 1.11.4. Install it'):
        STEPS[name]().fit_scores(*sample(30, 0))


def test_interpolate_as_numpy():
    x = torch.tensor([[0.1, 0.4, 0.5], [0.2, 0.3, 0.3]])  # the second row is padded
    y = torch.tensor([[0.0, 0.6, 1.0], [0.5, 0.7, 0.7]])
    p = torch.linspace(0, 1, 41).repeat(2, 1)
    expected = [np.interp(p[0], x[0], y[0]), np.interp(p[1], x[1, :2], y[1, :2])]
    np.testing.assert_allclose(interpolate(p, torch.stack([x, y])), expected, atol=1e-6)


def test_bins_are_half_open_and_empty_ones_give_their_center():
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]])
    got = bin_frequencies(p, torch.tensor([0, 1, 1, 1]), 2)
    torch.testing.assert_close(got, torch.tensor([[1 / 4, 0.75], [0, 1]]), check_dtype=False)
