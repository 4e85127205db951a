"""Distribution-balanced loss: re-balanced for labels that come together, tolerant of the negatives."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from ..base import check_at_least_zero
from .base import MultiLabelPriorLoss
from .weighted_focal import weighted_focal

__all__ = ['DistributionBalancedLoss', 'class_balanced_weight', 'rebalanced_weight']

REWEIGHTS = ('CB', 'inv', 'rebalance', 'sqrt_inv')
CB_MODES = ('average_n', 'average_w', 'by_class', 'min_n')
WEIGHT_NORMS = ('by_batch', 'by_instance')


def rebalanced_weight(target: Tensor, inverse_count: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    r"""Weights :math:`\alpha + \sigma(\beta (r_{ic} - \mu))`, (N, C), of the share r of a class in drawing an image.

    An image without positives has alpha + 1, its limit.

    Args:
        target: 1 positive, 0 negative, (N, C).
        inverse_count: 1 / n, (C,).
        alpha: lowest weight.
        beta: steepness.
        mu: share with the weight alpha + 1/2.
    """
    draws = (target @ inverse_count).clamp(min=1e-30)  # (N,)
    share = torch.outer(1 / draws, beta * inverse_count)  # (N, C), times beta
    return share.sub_(beta * mu).sigmoid_().add_(alpha)


def class_balanced_weight(target: Tensor, counts: Tensor, beta: float, mode: str) -> Tensor:
    r"""Weights :math:`e(n) = (1 - \beta) / (1 - \beta^n)` of the classes, or of each image by its positives.

    Args:
        target: 1 positive, 0 negative, (N, C).
        counts: n, at least 1, (C,).
        beta: in (0, 1).
        mode: ``'by_class'``: e(n_c), (1, C); for an image, (N, 1): ``'average_n'``: e of the mean n of its positives,
            ``'average_w'``: mean of their e(n), ``'min_n'``: e of their smallest n; 1 for one without positives.
    """

    def weight(n: Tensor) -> Tensor:
        return (beta - 1) / torch.expm1(n * np.log(beta))

    if mode == 'by_class':
        return weight(counts).unsqueeze(0)
    num_positives = target.sum(1)  # (N,)
    if mode == 'average_w':
        of_image = target @ weight(counts) / num_positives.clamp(min=1)
    elif mode == 'average_n':
        of_image = weight((target @ counts / num_positives.clamp(min=1)).clamp(min=1))
    else:
        of_image = weight(torch.where(target == 1, counts, counts.max()).amin(1))
    return torch.where(num_positives > 0, of_image, 1).unsqueeze(1)


@MODELS.register_module()
class DistributionBalancedLoss(MultiLabelPriorLoss):
    r"""Gives a tail class its weight where the sampling by classes did not, and stops pushing its negatives down early.

    .. math::
        r_{ic} = \frac{1 / n_c}{\sum_k y_{ik} / n_k}, \qquad w_{ic} = \alpha + \sigma(\beta (r_{ic} - \mu)), \qquad
        \nu_c = -\frac{\kappa}{\lambda} \log\Big(\frac{N}{n_c} - 1\Big)

        \ell_{ic} = b \, w_{ic} \Big( y_{ic} \, f(z_{ic} + \nu_c)
        + (1 - y_{ic}) \, \frac{1}{\lambda} \, f\big({-\lambda} (z_{ic} + \nu_c)\big) \Big), \qquad
        f(x) = (1 - \sigma(x))^\gamma (-\log \sigma(x))

    r is how much of the drawing of image i under class-aware sampling is due to class c. Negative-tolerant
    regularisation (nu and lambda) shifts the logits of rare classes down in training and flattens their negatives. The
    scores of a test image are the sigmoids of z alone.

    ============================ ======================================================== =============================
    ``reweight``                 w                                                        arguments
    ============================ ======================================================== =============================
    ``'rebalance'``              see above                                                alpha, beta, mu
    ``'inv'``, ``'sqrt_inv'``    :math:`N / n_c`, :math:`\sqrt{N / n_c}`
    ``'CB'``                     see :func:`class_balanced_weight`                        cb_beta, cb_mode
    None                         1
    ============================ ======================================================== =============================

    The losses of the paper's tables: R-BCE is ``'rebalance'`` alone, R-BCE-Focal has focal too, DB-0FL has neg_scale
    and init_bias, DB all; CB-Focal is ``'CB'`` with focal; NTR-Focal has no ``reweight``, for which [1] stops with an
    error.

    Follows [1] where it differs from [0]: kappa is divided by lambda, the weight of negatives too. A class without
    training images has weight 0 in every ``reweight`` and is not shifted ([1] gives NaN); n_c = N counts as N - 1/2. An
    image without positives has the largest ``'rebalance'`` weight, alpha + 1, and 1 in the modes of ``'CB'`` that
    weigh images (where [1] averages, it gives NaN). Unknown labels are refused: the weights ask for all labels of an
    image.

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``ResampleLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``db_loss``).

    Args:
        reweight: see the table.
        alpha: lowest weight of ``'rebalance'``; 0.1 in [1], called ``map_alpha`` there.
        beta: steepness; 10 in [1].
        mu: share with the weight alpha + 1/2; 0.2 for COCO-MLT, 0.3 for VOC-MLT; ``map_gamma`` in [1].
        cb_beta: of ``'CB'``, in (0, 1); 0.9 in [1].
        cb_mode: of ``'CB'``; ``'average_w'`` in [1].
        weight_norm: divide the weights by the largest of the image (``'by_instance'``) or of the batch
            (``'by_batch'``), over both before lambda; None for neither, as in all tables.
        neg_scale: lambda; 2 for COCO-MLT, 5 for VOC-MLT, 1 for none.
        init_bias: kappa; 0.05 in [1], 0 for none.
        divide_init_bias: divide kappa by lambda, as [1] does; [0] does not.
        focal_gamma: gamma; 2 in [1]; None for no focal loss, then b is 1.
        balance: b, factor of the focal loss; 2 in [1].
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.multi_label.base.MultiLabelPriorLoss`; ``'mean'`` in [1].

    Raises:
        ValueError: an unknown mode, a number out of range, or an argument that belongs to another mode or is missing.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    gives_total = True

    def __init__(
        self,
        reweight: str | None = 'rebalance',
        alpha: float | None = None,
        beta: float | None = None,
        mu: float | None = None,
        cb_beta: float | None = None,
        cb_mode: str | None = None,
        weight_norm: str | None = None,
        neg_scale: float = 1.0,
        init_bias: float = 0.0,
        divide_init_bias: bool = True,
        focal_gamma: float | None = None,
        balance: float | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value, known in (
            ('reweight', reweight, REWEIGHTS),
            ('cb_mode', cb_mode, CB_MODES),
            ('weight_norm', weight_norm, WEIGHT_NORMS),
        ):
            if value is not None and value not in known:
                raise ValueError(f'Expected `{name}` to be None or one of {list(known)}, but got {value!r}.')
        _together("reweight='rebalance'", reweight == 'rebalance', dict(alpha=alpha, beta=beta, mu=mu))
        _together("reweight='CB'", reweight == 'CB', dict(cb_beta=cb_beta, cb_mode=cb_mode))
        _together('focal_gamma', focal_gamma is not None, dict(balance=balance))
        if reweight is None and weight_norm is not None:
            raise ValueError(f'`weight_norm` belongs to a `reweight`, but got reweight=None and {weight_norm!r}.')
        if cb_beta is not None and not 0 < cb_beta < 1:
            raise ValueError(f'Expected `cb_beta` to be in (0, 1), but got {cb_beta}.')
        if not 0 < neg_scale < np.inf:
            raise ValueError(f'Expected `neg_scale` to be positive, but got {neg_scale}.')
        given = dict(alpha=alpha, beta=beta, mu=mu, init_bias=init_bias, focal_gamma=focal_gamma, balance=balance)
        for name, value in given.items():
            if value is not None:
                check_at_least_zero(name, value)
        self.reweight, self.alpha, self.beta, self.mu = reweight, alpha, beta, mu
        self.cb_beta, self.cb_mode, self.weight_norm = cb_beta, cb_mode, weight_norm
        self.neg_scale, self.init_bias, self.divide_init_bias = neg_scale, init_bias, divide_init_bias
        self.focal_gamma, self.balance = focal_gamma, 1.0 if balance is None else balance
        self.scale = self.balance / neg_scale
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep counts, inverse counts and the shift of the logits."""
        counts, num_images = distribution.image_counts, distribution.num_images
        occurs = counts > 0
        inverse = np.where(occurs, 1 / np.maximum(counts, 1), 0)
        strength = self.init_bias / (self.neg_scale if self.divide_init_bias else 1)
        shift = -strength * np.log(num_images / np.clip(counts, 0.5, num_images - 0.5) - 1)
        class_weight = num_images * inverse
        self._has_empty_classes = not occurs.all()
        self.register_derived('occurs', occurs)
        self.register_derived('counts', np.maximum(counts, 1))
        self.register_derived('inverse_count', inverse)
        self.register_derived('class_weight', np.sqrt(class_weight) if self.reweight == 'sqrt_inv' else class_weight)
        self.register_derived('shift', np.where(occurs, shift, 0))

    def weights(self, target: Tensor) -> Tensor | None:
        """Weights w of the labels, (N, C), (N, 1) of the images, or (1, C) of the classes; None for 1.

        Args:
            target: 1 positive, 0 negative, in the dtype of the weights, (N, C).
        """
        if self.reweight is None:
            return None
        if self.reweight == 'rebalance':
            weight = rebalanced_weight(target, self.inverse_count.to(target), self.alpha, self.beta, self.mu)
        elif self.reweight == 'CB':
            weight = class_balanced_weight(target, self.counts.to(target), self.cb_beta, self.cb_mode)
        else:
            weight = self.class_weight.to(target).unsqueeze(0)
        if self._has_empty_classes:
            weight = weight * self.occurs.to(target)
        if self.weight_norm is not None and len(weight):
            largest = weight.amax(1, keepdim=True) if self.weight_norm == 'by_instance' else weight.amax()
            weight = weight / largest.clamp(min=torch.finfo(weight.dtype).tiny)
        return weight

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See :func:`~ltmm.models.losses.multi_label.weighted_focal.weighted_focal`."""
        offset = self.shift.to(cls_score) if self.init_bias else None
        weight = self.weights(target)
        return weighted_focal(cls_score, target, self.focal_gamma or 0, offset, self.neg_scale, weight, total)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        names = ('reweight', 'alpha', 'beta', 'mu', 'cb_beta', 'cb_mode', 'weight_norm', 'neg_scale', 'init_bias')
        names += ('divide_init_bias', 'focal_gamma')
        given = ', '.join(f'{name}={getattr(self, name)!r}' for name in names if getattr(self, name) is not None)
        return f'{given}, balance={self.balance}, {super().extra_repr()}'


def _together(what: str, is_on: bool, values: dict[str, Any]) -> None:
    """Refuse arguments that are missing with ``what``, or given without it."""
    for name, value in values.items():
        if (value is not None) != is_on:
            problem = 'is missing: it belongs' if is_on else 'belongs'
            raise ValueError(f'`{name}` {problem} to {what}, but got {name}={value}.')
