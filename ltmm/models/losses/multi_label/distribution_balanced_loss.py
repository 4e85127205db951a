"""Distribution-balanced loss: re-balanced weights under label co-occurrence, and tolerance of negatives."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..functional import sigmoid_focal
from .base import MultiLabelPriorLoss

__all__ = ['DistributionBalancedLoss', 'class_balanced_weight', 'distribution_balanced_loss', 'rebalanced_weight']

REWEIGHTS = ('CB', 'inv', 'rebalance', 'sqrt_inv')
CB_MODES = ('average_n', 'average_w', 'by_class', 'min_n')
WEIGHT_NORMS = ('by_batch', 'by_instance')


def rebalanced_weight(target: Tensor, inverse_count: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    r"""Compute weights :math:`\alpha + \sigma(\beta (r_{ic} - \mu))`, (N, C), with r the share of class c in image i.

    Images without positives have weight alpha + 1, the limit.

    Args:
        target: 1 positive, 0 negative, (N, C).
        inverse_count: 1 / n, (C,).
        alpha: Lowest weight.
        beta: Steepness.
        mu: Share with weight alpha + 1/2.
    """
    draws = (target @ inverse_count).clamp(min=1e-30)  # (N,)
    share = torch.outer(1 / draws, inverse_count)  # (N, C)
    return share.sub_(mu).mul_(beta).sigmoid_().add_(alpha)


def class_balanced_weight(target: Tensor, counts: Tensor, beta: float, mode: str) -> Tensor:
    r"""Compute weights :math:`e(n) = (1 - \beta) / (1 - \beta^n)` of classes, (1, C), or of images, (N, 1).

    Args:
        target: 1 positive, 0 negative, (N, C).
        counts: n, at least 1, (C,).
        beta: In (0, 1).
        mode: ``'by_class'``: e(n_c). Over the positives of an image, ``'average_n'``: e of the mean n, ``'average_w'``:
            mean of e(n), ``'min_n'``: e of the smallest n; 1 for images without positives.
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


def distribution_balanced_loss(
    cls_score: Tensor, target: Tensor, weight: Tensor, neg_scale: float, gamma: float
) -> Tensor:
    r"""Compute :math:`w f(z)` for positives and :math:`w f(-\lambda z) / \lambda` for negatives, (N, C).

    f is the focal loss of :class:`DistributionBalancedLoss`.

    Args:
        cls_score: Shifted logits z, (N, C).
        target: 1 positive, 0 negative, (N, C).
        weight: w, broadcastable to (N, C).
        neg_scale: lambda.
        gamma: Focusing strength; 0 for binary cross entropy.
    """
    slope = neg_scale - (neg_scale + 1) * target  # -1 for positives, lambda for negatives
    if neg_scale != 1:
        weight = weight / slope.abs()
    return weight * sigmoid_focal(slope * cls_score, gamma)


@MODELS.register_module()
class DistributionBalancedLoss(MultiLabelPriorLoss):
    r"""Weights that undo the side effects of class-aware sampling, and negatives that stop early.

    .. math::
        r_{ic} = \frac{1 / n_c}{\sum_k y_{ik} / n_k}, \qquad w_{ic} = \alpha + \sigma(\beta (r_{ic} - \mu)), \qquad
        \nu_c = -\frac{\kappa}{\lambda} \log\Big(\frac{N}{n_c} - 1\Big)

        \ell_{ic} = b \, w_{ic} \Big( y_{ic} \, f(z_{ic} + \nu_c)
        + (1 - y_{ic}) \, \frac{1}{\lambda} \, f\big({-\lambda} (z_{ic} + \nu_c)\big) \Big), \qquad
        f(x) = (1 - \sigma(x))^\gamma (-\log \sigma(x))

    r is the share of class c in the probability that class-aware sampling draws image i. Negative-tolerant
    regularization (nu, lambda) lowers the logits of rare classes in training and flattens the loss of negatives. Test
    scores are sigmoid(z).

    ============================ ======================================================== =============================
    ``reweight``                 w                                                        arguments
    ============================ ======================================================== =============================
    ``'rebalance'``              see above                                                alpha, beta, mu
    ``'inv'``, ``'sqrt_inv'``    :math:`N / n_c`, :math:`\sqrt{N / n_c}`
    ``'CB'``                     see :func:`class_balanced_weight`                        cb_beta, cb_mode
    None                         1
    ============================ ======================================================== =============================

    The losses in the tables of [0]: R-BCE is ``'rebalance'`` alone, R-BCE-Focal adds focal, DB-0FL adds neg_scale and
    init_bias, DB has all; CB-Focal is ``'CB'`` with focal; NTR-Focal has no ``reweight`` ([1] fails there).

    Follows [1] where it differs from [0]: kappa is divided by lambda, and so is the weight of negatives. Classes
    without training images have weight 0 and no shift ([1] gives NaN); n_c = N counts as N - 1/2. Images without
    positives have weight alpha + 1 in ``'rebalance'`` and 1 in the modes of ``'CB'`` that weight images. Unknown
    labels are refused: the weights need all labels of an image.

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, ``ResampleLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``db_loss``).

    Args:
        reweight: See the table.
        alpha: Lowest weight of ``'rebalance'``; 0.1 in [1] (``map_alpha``).
        beta: Steepness; 10 in [1].
        mu: Share with weight alpha + 1/2; 0.2 for COCO-MLT, 0.3 for VOC-MLT (``map_gamma``).
        cb_beta: beta of ``'CB'``; 0.9 in [1].
        cb_mode: Mode of ``'CB'``; ``'average_w'`` in [1].
        weight_norm: Divide the weights by their maximum per image (``'by_instance'``) or batch (``'by_batch'``), which
            is that of all ranks. The tables of [0] do neither (None).
        neg_scale: lambda; 2 for COCO-MLT, 5 for VOC-MLT, 1 for none.
        init_bias: kappa; 0.05 in [1], 0 for none.
        divide_init_bias: Divide kappa by lambda as [1] does; [0] does not.
        focal_gamma: gamma; 2 in [1]. None disables the focal loss.
        balance: b, with the focal loss; 2 in [1].
        **kwargs: Arguments of :class:`MultiLabelPriorLoss`; reduction ``'mean'`` in [1].
    """

    def __init__(
        self,
        *,
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
        given = dict(alpha=alpha, beta=beta, mu=mu, init_bias=init_bias, focal_gamma=focal_gamma, balance=balance)
        check(**{name: (value, '>= 0 or None') for name, value in given.items()})
        check(neg_scale=(neg_scale, '> 0'), cb_beta=(cb_beta, 'in (0, 1) or None'))
        check(reweight=(reweight, (*REWEIGHTS, None)), cb_mode=(cb_mode, (*CB_MODES, None)))
        check(weight_norm=(weight_norm, (*WEIGHT_NORMS, None)))
        _check_together("reweight='rebalance'", reweight == 'rebalance', alpha=alpha, beta=beta, mu=mu)
        _check_together("reweight='CB'", reweight == 'CB', cb_beta=cb_beta, cb_mode=cb_mode)
        _check_together('focal_gamma', focal_gamma is not None, balance=balance)
        if reweight is None and weight_norm is not None:
            raise InputError(f'`weight_norm` needs a `reweight`, but got reweight=None and {weight_norm!r}.')
        self.reweight, self.alpha, self.beta, self.mu = reweight, alpha, beta, mu
        self.cb_beta, self.cb_mode, self.weight_norm = cb_beta, cb_mode, weight_norm
        self.neg_scale, self.init_bias, self.divide_init_bias = neg_scale, init_bias, divide_init_bias
        self.focal_gamma, self.balance = focal_gamma, 1.0 if balance is None else balance
        super().__init__(**kwargs)

    @property
    def needs_whole_batch(self) -> bool:
        return self.weight_norm == 'by_batch' or super().needs_whole_batch

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        counts, num_images = distribution.image_counts, distribution.num_images
        occurs = counts > 0
        inverse = np.where(occurs, 1 / np.maximum(counts, 1), 0)
        strength = self.init_bias / (self.neg_scale if self.divide_init_bias else 1)
        shift = -strength * np.log(num_images / np.clip(counts, 0.5, num_images - 0.5) - 1)
        self.register_derived('occurs', occurs)
        self.register_derived('counts', np.maximum(counts, 1))
        self.register_derived('inverse_count', inverse)
        self.register_derived('class_weight', (num_images * inverse) ** (0.5 if self.reweight == 'sqrt_inv' else 1))
        self.register_derived('shift', np.where(occurs, shift, 0))

    def weights(self, target: Tensor) -> Tensor:
        """Compute the weights w of labels, (N, C), images, (N, 1), or classes, (1, C).

        Args:
            target: 1 positive, 0 negative, in the dtype of the weights, (N, C).
        """
        if self.reweight is None:
            return target.new_ones(1, 1)
        if self.reweight == 'rebalance':
            weight = rebalanced_weight(target, self.inverse_count.to(target), self.alpha, self.beta, self.mu)
        elif self.reweight == 'CB':
            weight = class_balanced_weight(target, self.counts.to(target), self.cb_beta, self.cb_mode)
        else:
            weight = self.class_weight.to(target).unsqueeze(0)
        weight = weight * self.occurs.to(target)
        if self.weight_norm is not None:
            largest = weight.amax(1, keepdim=True)  # (N, 1)
            if self.weight_norm == 'by_batch':
                largest = F.pad(largest.flatten(), (0, 1)).amax()  # of no image: 0
                all_reduce(largest, op='max')
            weight = weight / largest.clamp(min=torch.finfo(weight.dtype).tiny)
        return weight

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        if self.init_bias:
            cls_score = cls_score + self.shift.to(cls_score)
        weight = self.weights(target).mul_(self.balance)
        return distribution_balanced_loss(cls_score, target, weight, self.neg_scale, self.focal_gamma or 0)

    def extra_repr(self) -> str:
        names = ('reweight', 'alpha', 'beta', 'mu', 'cb_beta', 'cb_mode', 'weight_norm', 'neg_scale', 'init_bias')
        names += ('divide_init_bias', 'focal_gamma')
        given = ', '.join(f'{name}={getattr(self, name)!r}' for name in names if getattr(self, name) is not None)
        return f'{given}, balance={self.balance}, {super().extra_repr()}'


def _check_together(option: str, is_on: bool, **arguments: Any) -> None:
    """Refuse arguments of an option that is off, and an option without its arguments."""
    for name, value in arguments.items():
        if (value is not None) != is_on:
            raise InputError(f'`{name}` {"is missing for" if is_on else "needs"} {option}, but got {name}={value}.')
