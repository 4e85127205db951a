"""Importance-weighted temperature scaling (IWTS): calibrate for a balanced test set on long-tailed data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.models.state.class_distribution import UsesClassDistribution, check_head_classes, head_class_mask
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError

from .search import uses_sigmoid
from .temperature_scaling import BOUNDS, TemperatureScaling, fit_temperature

__all__ = ['ImportanceWeightedTemperatureScaling', 'head_attention', 'importance_weights', 'wasserstein_squared']

CHUNK = 8192


def wasserstein_squared(mean: Tensor, std: Tensor) -> Tensor:
    r"""Squared 2-Wasserstein distances of diagonal Gaussians, (C, C).

    .. math:: W_{ij} = \lVert \mu_i - \mu_j \rVert^2 + \lVert \sigma_i - \sigma_j \rVert^2

    Args:
        mean: Class means of the features, (C, D).
        std: Standard deviations, (C, D).
    """
    distance = [torch.cdist(x, x, compute_mode='donot_use_mm_for_euclid_dist') for x in (mean, std)]
    return distance[0].square() + distance[1].square()


def head_attention(distance: Tensor, is_head: Tensor, width: int) -> Tensor:
    r"""Compute the softmax over the other frequent classes j of :math:`-W_{ij} / \sqrt{D}`, (C, C); 0 for the others.

    Args:
        distance: W, see :func:`wasserstein_squared`, (C, C).
        is_head: Whether a class is frequent, (C,).
        width: D.
    """
    is_other = ~torch.eye(len(is_head), dtype=torch.bool, device=is_head.device)
    score = (-distance / width**0.5).masked_fill(~(is_head & is_other), torch.finfo(distance.dtype).min)
    return score.softmax(1)


def importance_weights(
    features: Tensor,
    label: Tensor,
    mean: Tensor,
    std: Tensor,
    attention: Tensor,
    is_head: Tensor,
    alpha: float,
    clip: Sequence[float],
) -> Tensor:
    r"""Compute the density ratio of the transferred to the own Gaussian for rare classes, 1 for frequent ones, (N,).

    .. math::
        w_i = \mathrm{clip} \frac{N(f_i; \mu', \sigma'^2)}{N(f_i; \mu_y, \sigma_y^2)}, \quad
        \mu' = (1 - \alpha) \sum_j A_{yj} \mu_j + \alpha \mu_y, \quad \sigma' \text{ likewise}

    Args:
        features: f, (N, D).
        label: y, (N,).
        mean: See :func:`wasserstein_squared`, (C, D).
        std: The same, (C, D).
        attention: A, (C, C).
        is_head: Whether a class is frequent, (C,).
        alpha: Share of the own statistics.
        clip: Lowest and highest weight.
    """
    new_mean, new_std = ((1 - alpha) * attention @ x + alpha * x for x in (mean, std))
    log_ratio = []
    for f, y in zip(features.split(CHUNK), label.split(CHUNK)):
        own, new = (f - mean[y]) / std[y], (f - new_mean[y]) / new_std[y]
        log_ratio.append((own.square() - new.square()).sum(1) / 2 + (std.log() - new_std.log()).sum(1)[y])
    low, high = np.log(clip)
    return torch.where(is_head[label], 1.0, torch.cat(log_ratio).clamp(low, high).exp())


@MODELS.register_module()
class ImportanceWeightedTemperatureScaling(UsesClassDistribution, TemperatureScaling):
    r"""Temperature scaling in which the validation images of rare classes count as in a balanced test set.

    Few images of a rare class cover little of it. Mean and variance of its features are moved towards those of similar
    frequent classes, and its validation images are weighted by the ratio of the new to the old density:

    .. math:: T = \arg\min_T \frac1N \sum_i w_i\,(-\log \mathrm{softmax}(z_i / T)_{y_i})

    See :func:`importance_weights`. The validation data have to have the class mix of the training data, such as
    those of ``ltmm.Holdout`` with a share. On balanced ones, such as the images that ``ltmm.LongTailed`` drops, plain
    ``ltmm.TemperatureScaling`` is already right.

    The densities are computed in log space. A standard deviation of 0 (a dead ReLU, a class with one image) is replaced
    by a small one, see ``eps``. Validation images of a class without training images have weight 1; a class without
    validation images has no say.

    References:
        [0] Chen and Su, Transfer Knowledge from Head to Tail: Uncertainty Calibration under Long-tailed Distribution,
            CVPR 2023, arXiv 2304.06537.
        [1] github.com/JiahaoChen1/Calibration @4738754, `calibration_model.py`. Reproduced to 1e-6 (tests/conformance,
            ``iwts_calibration``).

    Args:
        head_classes: The frequent classes: ``'many'``, the many-shot ones, with more than 100 training images; a number
            k, the k most frequent; or a list of class indices. The first 4 of 10 classes in [1].
        alpha: Share of a rare class in its own statistics; 1 is plain temperature scaling.
        clip: Lowest and highest weight.
        bounds: Lowest and highest temperature.
        eps: Lowest variance, as a share of the mean over classes and features.
        temperature: T. Default: fitted.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    val_mix = 'train'

    def __init__(
        self,
        head_classes: str | int | Sequence[int] = 'many',
        alpha: float = 0.998,
        clip: Sequence[float] = (0.3, 5.0),
        bounds: Sequence[float] = BOUNDS,
        eps: float = 1e-6,
        temperature: float | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__(1.0 if temperature is None else temperature)
        self.temperature = temperature  # None until fitted
        check(
            alpha=(alpha, 'in [0, 1]'),
            clip=(clip, 'a list of numbers > 0'),
            bounds=(bounds, 'a list of numbers > 0'),
            eps=(eps, '> 0'),
        )
        check_head_classes(head_classes)
        for name, pair in dict(clip=clip, bounds=bounds).items():
            if np.size(pair) != 2 or pair[0] > pair[1]:
                raise InputError(f'Expected `{name}` to be (lowest, highest), but got {pair}.')
        self.head_classes, self.alpha, self.clip, self.eps = head_classes, alpha, tuple(clip), eps
        self.bounds = tuple(bounds)
        self.needs_fit = temperature is None
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def check(self, head: nn.Module) -> None:
        if uses_sigmoid(head):
            raise InputTypeError(f'{type(self).__name__} is for a softmax, but the loss of this head uses sigmoids.')

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        if self.temperature is None:
            raise MissingInputError(
                'ImportanceWeightedTemperatureScaling is not fitted. Give `temperature`, or run '
                'tools/post_process.py --method iwts.'
            )
        return super().forward(cls_score, features, head)

    def fit(self, train: Any, val: Any) -> None:
        """Fit the temperature on the validation split, with the class statistics of the training split."""
        self.temperature = fit_temperature(val.logits, val.label, self.weights(train, val), bounds=self.bounds)

    def weights(self, train: Any, val: Any) -> Tensor:
        """Weights of the validation samples, float64, (N,)."""
        mean, variance = train.class_means(), train.class_variances()
        floor = self.eps * variance.mean()
        std = variance.clamp(min=floor if floor > 0 else self.eps).sqrt()
        is_head = self.frequent_classes()
        attention = head_attention(wasserstein_squared(mean, std), is_head, mean.size(1))
        keeps = is_head | torch.from_numpy(self.get_class_distribution().image_counts == 0)
        return importance_weights(val.features.double(), val.label, mean, std, attention, keeps, self.alpha, self.clip)

    def frequent_classes(self) -> Tensor:
        """Whether a class is one of :attr:`head_classes` and has training images, (C,)."""
        return torch.from_numpy(head_class_mask(self.get_class_distribution(), self.head_classes))

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        names = ('head_classes', 'alpha', 'clip', 'eps', 'temperature')
        return {name: getattr(self, name) for name in names} | counts
