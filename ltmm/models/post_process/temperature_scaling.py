"""Temperature scaling: calibrate the confidence of a classifier."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.losses.classification.sigmoid_focal_loss import sigmoid_focal_loss
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import PostProcess, linear_layer
from .lbfgs import minimize
from .search import uses_sigmoid

__all__ = ['TemperatureScaling', 'fit_temperature', 'squared_error', 'weighted_nll']

BOUNDS = (0.05, 5.0)  # of the temperature, as in the code of IWTS


def weighted_nll(cls_score: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Compute :math:`\frac1N \sum_i w_i\,(-\log \mathrm{softmax}(z_i)_{y_i})`.

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,).
        weight: (N,). Default: 1.
    """
    nll = F.cross_entropy(cls_score, label, reduction='none')
    return (nll if weight is None else weight * nll).mean()


def squared_error(probability: Tensor, label: Tensor) -> Tensor:
    """Mean over samples and classes of the squared distance from the one-hot label.

    Args:
        probability: (N, C).
        label: Class indices, (N,).
    """
    own = probability.gather(1, label[:, None])[:, 0]
    return (probability.square().sum(1) - 2 * own + 1).mean() / probability.size(1)


def bounded_temperature(x: Tensor, bounds: Sequence[float] = BOUNDS) -> Tensor:
    """Map a number to a temperature between the bounds."""
    low, high = bounds
    return low * (math.log(high / low) * x.sigmoid()).exp()


def temperature_start(bounds: Sequence[float] = BOUNDS) -> Tensor:
    """Return the number with :func:`bounded_temperature` 1, or with that in the middle if 1 is out of the bounds."""
    low, high = bounds
    return torch.tensor(-math.log(low) / math.log(high / low) if low < 1 < high else 0.5).logit()


def fit_temperature(
    cls_score: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    offset: Tensor | float = 0.0,
    loss: str = 'nll',
    bounds: Sequence[float] = BOUNDS,
) -> float:
    r"""Return the temperature that minimizes the loss of :math:`z / T + o`, by L-BFGS from 1, if that is in the bounds.

    Args:
        cls_score: Logits z, (N, C).
        label: Class indices, (N,).
        weight: Of the samples, (N,), for ``'nll'``.
        offset: o, added to the scaled logits, (C,).
        loss: ``'nll'``, see :func:`weighted_nll`; ``'mse'``, see :func:`squared_error`; or ``'sigmoid_nll'``, of one
            sigmoid per class.
        bounds: Lowest and highest temperature, which are not reached.
    """
    check(loss=(loss, ('mse', 'nll', 'sigmoid_nll')))
    cls_score = cls_score.double()

    def value(x: Tensor) -> Tensor:
        scaled = cls_score / bounded_temperature(x, bounds) + offset
        if loss == 'nll':
            return weighted_nll(scaled, label, weight)
        if loss == 'mse':
            return squared_error(scaled.softmax(1), label)
        return sigmoid_focal_loss(scaled, label, gamma=0).mean()

    return float(bounded_temperature(minimize(value, temperature_start(bounds)), bounds))


@MODELS.register_module()
class TemperatureScaling(PostProcess):
    r"""Divides all logits by one number, which changes the confidence but no prediction.

    .. math:: z'_c = z_c / T

    T minimizes the negative log-likelihood of the validation split, see :func:`fit_temperature`; or it is the best of a
    grid, by any objective.

    References:
        [0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Args:
        temperature: T; above 1 it lowers the confidence.
    """

    strength = 'temperature'
    grid = None
    objective = 'nll'
    val_mix = 'test'

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        check(temperature=(temperature, '> 0'))
        self.temperature = temperature

    def fit(self, train: Any, val: Any) -> None:
        """Set the temperature by the validation split."""
        if self.grid is not None:
            super().fit(train, val)
            return
        if self.objective != 'nll':
            raise InputError(f'TemperatureScaling: `objective` {self.objective!r} needs a `grid`, such as 0.5:4:36.')
        loss = 'sigmoid_nll' if uses_sigmoid(val.head) else 'nll'
        self.temperature = fit_temperature(val.logits, val.label, loss=loss)

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return cls_score / self.temperature

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = linear_layer(head)
        for parameter in layer.parameters() if layer else ():
            parameter.div_(self.temperature)
        return layer is not None
