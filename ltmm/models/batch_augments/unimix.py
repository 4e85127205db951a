"""UniMix: mixup with partners and shares that favor rare classes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.checks import check

from .base import BATCH_AUGMENTS, PriorBatchAugment, mix_rows

__all__ = ['UniMix', 'unimix_partners', 'unimix_share']


def unimix_partners(counts: Tensor, uniform: Tensor, tau: float) -> Tensor:
    r"""Draw a partner for each image, j with probability proportional to :math:`n_{y_j}^\tau`; indices, (N,).

    Args:
        counts: Training images of the class of each image, (N,).
        uniform: Uniform draws from [0, 1), (N,).
        tau: Exponent.
    """
    cumulative = (tau * counts.log()).softmax(0).cumsum(0)
    return torch.searchsorted(cumulative / cumulative[-1], uniform, right=True)


def unimix_share(counts: Tensor, partner_counts: Tensor, beta: Tensor) -> Tensor:
    r"""Return the share :math:`\lambda + n_j / (n_i + n_j)` of each image, minus 1 where above 1, (N,).

    Args:
        counts: n_i, training images of the class of each image, (N,).
        partner_counts: n_j, those of its partner, (N,).
        beta: lambda, draws from a Beta distribution, (N,).
    """
    share = beta + partner_counts / (counts + partner_counts)
    return torch.where(share > 1, share - 1, share)


@BATCH_AUGMENTS.register_module()
class UniMix(PriorBatchAugment):
    r"""Mixes each image with a partner of its batch; rare classes are partners more often, and get larger shares.

    .. math::
        P(j) \propto n_{y_j}^\tau, \qquad
        \lambda_i = \mathrm{Beta}(\alpha, \alpha) + \frac{n_{y_j}}{n_{y_i} + n_{y_j}} \pmod 1, \qquad
        x = \lambda_i x_i + (1 - \lambda_i) x_j

    The labels are mixed by the same share. A small alpha puts most shares near :math:`n_{y_j} / (n_{y_i} + n_{y_j})`.

    [0] Xu et al., Towards Calibrated Model for Long-Tailed Visual Recognition from Prior Perspective, NeurIPS 2021,
        arXiv 2111.03874.
    [1] github.com/XuZhengzhuo/Prior-LT @5f2298c. Reproduces [1] to 1e-6 (tests/conformance, ``prior_lt``).

    Args:
        alpha: Of the Beta distribution; 0.5 to 0.8 in [1].
        tau: Exponent of the class counts: below 0, rare classes are drawn more often than their share of the batch.
        **kwargs: ``start``, ``end`` and ``class_counts`` of :class:`PriorBatchAugment`; ``end`` is ``mix_stop`` in [1],
            as a share of the epochs.
    """

    def __init__(self, *, alpha: float = 0.8, tau: float = -0.1, **kwargs: Any) -> None:
        check(tau=(tau, 'finite'))
        super().__init__(alpha=alpha, **kwargs)
        self.tau = tau

    def draw(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Draw partner and share of each image, (N,) and (N,), by NumPy's global generator.

        Args:
            counts: Training images of the class of each image, (N,).
        """
        uniform, beta = np.random.random_sample(len(counts)), np.random.beta(self.alpha, self.alpha, len(counts))
        partner = unimix_partners(counts, torch.from_numpy(uniform).to(counts), self.tau)
        return partner, unimix_share(counts, counts[partner], torch.from_numpy(beta).to(counts))

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        partner, share = self.draw(self.counts_of(score))
        return mix_rows(inputs, inputs[partner], share), mix_rows(score, score[partner], share)

    def extra_repr(self) -> str:
        return f'tau={self.tau}, {super().extra_repr()}'
