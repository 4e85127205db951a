"""Ensemble temperature scaling (ETS): a mixture of scaled, plain and uniform probabilities."""

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.environment import check_usable

from .score_calibration import ScoreCalibration
from .temperature_scaling import fit_temperature

__all__ = ['EnsembleTemperatureScaling', 'fit_mixture']


def fit_mixture(parts: Tensor, label: Tensor) -> Tensor:
    r"""Return the weights on the simplex of the mixture with the least squared error, (P,).

    The error is quadratic in the weights: :math:`w^\top A w - 2 b^\top w` plus a constant.

    Args:
        parts: Probabilities, (P, N, C).
        label: Class indices, (N,).
    """
    check_usable('scipy')
    from scipy.optimize import minimize

    num = len(parts)
    flat = parts.double().flatten(1)  # (P, N C)
    a = (flat @ flat.T / len(label)).numpy()
    b = parts.double()[:, torch.arange(len(label)), label].mean(1).numpy()
    found = minimize(
        lambda w: w @ a @ w - 2 * b @ w,
        [1 / num] * num,
        jac=lambda w: 2 * (a @ w - b),
        method='SLSQP',
        bounds=[(0, 1)] * num,
        constraints=dict(type='eq', fun=lambda w: w.sum() - 1, jac=lambda w: w * 0 + 1),
        options=dict(ftol=1e-12),
    )
    weight = torch.from_numpy(found.x).clamp(min=0)
    return weight / weight.sum()


@MODELS.register_module()
class EnsembleTemperatureScaling(ScoreCalibration):
    r"""Mixes scaled, plain and uniform probabilities, which changes the confidence but no prediction.

    .. math:: p' = w_1\,\mathrm{softmax}(z / T) + w_2\,\mathrm{softmax}(z) + w_3 / C

    T and then w, on the simplex, minimize the squared error on the validation split. The split should have the class
    mix of the test set. Needs scipy.

    References:
        [0] Zhang et al., Mix-n-Match: Ensemble and Compositional Methods for Uncertainty Calibration in Deep Learning,
            ICML 2020, arXiv 2003.07329.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('temperature', torch.zeros(0, dtype=torch.float64))
        self.register_buffer('weight', torch.zeros(0, dtype=torch.float64))

    def fit_scores(self, cls_score: Tensor, label: Tensor) -> None:
        self.temperature = cls_score.new_tensor([fit_temperature(cls_score, label, loss='mse')])
        self.weight = fit_mixture(self._parts(cls_score), label)

    def calibrate(self, cls_score: Tensor) -> Tensor:
        return torch.einsum('p,pnc->nc', self.weight, self._parts(cls_score))

    def _parts(self, cls_score: Tensor) -> Tensor:
        plain = cls_score.softmax(1)
        uniform = torch.full_like(plain, 1 / plain.size(1))
        return torch.stack([(cls_score / self.temperature).softmax(1), plain, uniform])  # (3, N, C)
