"""Ensemble temperature scaling (ETS): a mixture of scaled, plain and uniform probabilities."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.environment import check_usable

from .score_calibration import ScoreCalibration
from .temperature_scaling import fit_temperature

__all__ = ['EnsembleTemperatureScaling', 'fit_mixture']

CHUNK = 4096  # samples


def fit_mixture(chunks: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    r"""Return the weights on the simplex of the mixture with the least squared error, (P,).

    The error is quadratic in the weights: :math:`w^\top A w - 2 b^\top w` plus a constant.

    Args:
        chunks: Probabilities, (P, N, C), and class indices, (N,), of some samples at a time.
    """
    check_usable('scipy')
    from scipy.optimize import minimize

    a = b = num_samples = 0
    for parts, label in chunks:
        flat = parts.double().flatten(1)  # (P, N C)
        a += (flat @ flat.T).numpy()
        b += parts.double()[:, torch.arange(len(label)), label].sum(1).numpy()
        num_samples += len(label)
    a, b, num = a / num_samples, b / num_samples, len(b)
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
        chunks = zip(cls_score.split(CHUNK), label.split(CHUNK))
        self.weight = fit_mixture((self._parts(scores), labels) for scores, labels in chunks)

    def calibrate(self, cls_score: Tensor) -> Tensor:
        return torch.einsum('p,pnc->nc', self.weight, self._parts(cls_score))

    def _parts(self, cls_score: Tensor) -> Tensor:
        plain = cls_score.softmax(1)
        uniform = torch.full_like(plain, 1 / plain.size(1))
        return torch.stack([(cls_score / self.temperature).softmax(1), plain, uniform])  # (3, N, C)
