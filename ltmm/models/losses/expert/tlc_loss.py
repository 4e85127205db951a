"""TLC: experts with evidential uncertainty; each learns only images of which those before it are unsure."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import divisor
from ..classification.adjusted_ce_loss import adjusted_logits
from ..objective import LossInputs
from .base import kl_divergence
from .evidence import log_evidential_weights
from .ride_loss import RIDELoss

__all__ = ['TLCLoss', 'dirichlet_kl', 'engagement']

LOG_LARGE = math.log(32)  # from here on the series below are exact to 1e-9


def _by_size(log_x: Tensor, exact: Callable[[Tensor], Tensor], series: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Compute ``exact(x)``, or for large x ``series(log x, 1 / x)``, elementwise."""
    log_large = log_x.clamp(min=LOG_LARGE)
    return torch.where(
        log_x < LOG_LARGE, exact(log_x.clamp(max=LOG_LARGE).exp()), series(log_large, (-log_large).exp())
    )


def dirichlet_kl(log_alpha: Tensor) -> Tensor:
    r"""Compute the KL divergence of a Dirichlet distribution from the uniform one, (...).

    .. math::
        \ln\Gamma(S) - \ln\Gamma(C) - \sum_c \ln\Gamma(\alpha_c) + \sum_c (\alpha_c - 1)(\psi(\alpha_c) - \psi(S)),
        \qquad S = \sum_c \alpha_c

    Its terms are as large as :math:`\alpha \ln \alpha` and almost cancel. With
    :math:`h(x) = \ln\Gamma(x) - (x - 1) \psi(x) + x`, which grows as :math:`\tfrac12 \ln x`, it is
    :math:`h(S) + (C - 1) \psi(S) - \ln\Gamma(C) - \sum_c h(\alpha_c)`, which float32 computes for any alpha.

    Args:
        log_alpha: Logarithm of the concentrations, at least 0, (..., C).
    """

    def h(log_x: Tensor) -> Tensor:
        return _by_size(
            log_x,
            lambda x: x.lgamma() - (x - 1) * x.digamma() + x,
            lambda log_x, y: (
                0.5 * (log_x + math.log(2 * math.pi) + 1) - y * (1 / 3 + y * (1 / 12 + y * (1 / 90 - y / 120)))
            ),
        )

    log_sum, num_classes = log_alpha.logsumexp(-1), log_alpha.size(-1)
    digamma = _by_size(
        log_sum, torch.digamma, lambda log_x, y: log_x - y * (1 / 2 + y * (1 / 12 - y**2 * (1 / 120 - y**2 / 252)))
    )
    return h(log_sum) + (num_classes - 1) * digamma - math.lgamma(num_classes) - h(log_alpha).sum(-1)


def engagement(expert_logits: Tensor, threshold: float) -> Tensor:
    """Return which images each expert learns from, (E, N): those that the experts before it are unsure of.

    These have a weight, see :func:`evidential_weights`, above this share of the largest one in the batch of all ranks.

    Args:
        expert_logits: (E, N, C).
        threshold: The share.
    """
    log_weight = log_evidential_weights(expert_logits.detach())[:-1]  # (E, N)
    lowest = torch.finfo(log_weight.dtype).min
    largest = F.pad(log_weight, (0, 1), value=lowest).amax(1, keepdim=True)  # of a batch without images too
    if get_world_size() > 1:
        all_reduce(largest, 'max')
    return (log_weight - largest).exp() > threshold


@MODELS.register_module()
class TLCLoss(RIDELoss):
    r"""Trains each expert with LDAM margins on the images that those before it are unsure of, mostly of the tail.

    The exponentials of the logits are evidence for the classes: the parameters of a Dirichlet distribution, less 1.

    .. math::
        \sum_e \frac{1}{|M_e|} \sum_{i \in M_e} \Big[ w_y \, \mathrm{CE}(x_e, y)
        + \frac{t}{t_1} \, \mathrm{KL}\big(\mathrm{Dir}(\tilde\alpha_e) \,\|\, \mathrm{Dir}(1)\big)
        + \lambda \, \bar D^2 \,
        \mathrm{KL}\big(\mathrm{softmax}(z / D) \,\|\, \mathrm{softmax}(z_e / D)\big) \Big]

    with :math:`x_e = z_e - s \, m_y \, \mathrm{onehot}(y)`, the concentrations :math:`\tilde\alpha_e = e^{x_e} + 1`,
    but 1 of the true class, so that false evidence costs, the epoch t, counted from 1, the detached prediction z of the
    head and the images :math:`M_e` of :func:`engagement`. Margins m, weights w and temperatures D are those of
    :class:`RIDELoss`, from ``reweight_epoch`` on; the weights do not divide the mean. Predict with
    ``aggregation=dict(type='ltmm.EvidentialAggregation')``.

    [0] Li et al., Trustworthy Long-Tailed Classification, CVPR 2022, arXiv 2111.09030.
    [1] github.com/lblaoke/TLC @204f50b, ``TLCLoss``. Reproduces [1] to 1e-6 (tests/conformance, ``tlc`` and
        ``trajectory_tlc``), with an aggregation that is normalized over the batch. In float32 its KL divergence is
        rounding noise for logits above 15; this one is not.

    Args:
        kl_epochs: t_1, epochs until the KL divergence has its full weight, far more than there are; 13,200 for
            CIFAR-LT, 29,000 for ImageNet-LT in [1].
        threshold: See :func:`engagement`.
        diversity_factor: lambda; negative values push the experts apart.
        **kwargs: Arguments of :class:`RIDELoss`.
    """

    requires = ('expert_logits', 'cls_score')
    needs_whole_batch = True  # the largest weight

    def __init__(
        self, *, kl_epochs: int, threshold: float = 0.54, diversity_factor: float = -0.01, **kwargs: Any
    ) -> None:
        check(kl_epochs=(kl_epochs, 'int >= 1'), threshold=(threshold, 'in [0, 1)'))
        self.kl_epochs, self.threshold = kl_epochs, threshold
        super().__init__(diversity_factor=diversity_factor, **kwargs)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label = inputs.expert_logits, inputs.label  # (E, N, C), (N,)
        is_reweighted = self.reweight_epoch is not None and self.epoch >= self.reweight_epoch
        class_weight, temperature = (
            (x.to(logits) if is_reweighted else torch.ones_like(x, dtype=logits.dtype))
            for x in (self.class_weight, self.temperature)
        )
        labels = label.repeat(len(logits))
        lowered = adjusted_logits(logits.flatten(0, 1), labels, margin=self.margin.to(logits))  # (E N, C)
        cross_entropy = F.cross_entropy(lowered, labels, reduction='none').view_as(logits[..., 0])
        is_label = F.one_hot(labels, lowered.size(1)).bool()
        uniformity = dirichlet_kl(F.softplus(lowered).masked_fill(is_label, 0)).view_as(cross_entropy)
        diversity = kl_divergence(inputs.cls_score.detach() / temperature, logits / temperature)
        losses = dict(
            loss_cls=class_weight[label] * cross_entropy,
            loss_kl=(self.epoch + 1) / self.kl_epochs * uniformity,
            loss_diversity=self.diversity_factor * temperature.mean() ** 2 * diversity,
        )
        engaged = engagement(logits, self.threshold)  # (E, N)
        return {
            name: ((self.weighted(loss, label) * engaged).sum(1) / divisor(engaged.sum(1), loss)).sum()
            for name, loss in losses.items()
        }

    def extra_repr(self) -> str:
        return f'kl_epochs={self.kl_epochs}, threshold={self.threshold}, {super().extra_repr()}'
