"""Remix: mixup whose labels favor the rarer of two classes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.checks import check

from .base import BATCH_AUGMENTS, PriorBatchAugment, mix_rows

__all__ = ['Remix', 'remix_label_share']


def remix_label_share(share: float, counts: Tensor, partner_counts: Tensor, kappa: float, tau: float) -> Tensor:
    """Return the share of the own label of each image, (N,): 0, 1 or the share of the image.

    Args:
        share: Share of the own image in the mixed one.
        counts: Training images of the class of each image, (N,).
        partner_counts: Those of its partner, (N,).
        kappa: See :class:`Remix`.
        tau: See :class:`Remix`.
    """
    ratio = counts / partner_counts
    label_share = torch.full_like(ratio, share)
    if share < tau:
        label_share = label_share.masked_fill(ratio >= kappa, 0)
    if 1 - share < tau:
        label_share = label_share.masked_fill(ratio <= 1 / kappa, 1)
    return label_share


@BATCH_AUGMENTS.register_module()
class Remix(PriorBatchAugment):
    r"""Mixup that labels a mixture of a frequent and a rare class as the rare class alone.

    Images are mixed as by Mixup, :math:`x = \lambda x_i + (1 - \lambda) x_j`, labels by

    .. math::
        \lambda_y = \begin{cases}
            0 & n_{y_i} / n_{y_j} \ge \kappa \text{ and } \lambda < \tau \\
            1 & n_{y_i} / n_{y_j} \le 1 / \kappa \text{ and } 1 - \lambda < \tau \\
            \lambda & \text{otherwise}
        \end{cases}

    Partners are a random permutation of the batch, and all images have the same lambda.

    [0] Chou et al., Remix: Rebalanced Mixup, ECCV Workshops 2020, arXiv 2007.03943.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, which draws one lambda per batch.

    Args:
        alpha: Of the Beta distribution of lambda.
        kappa: Smallest ratio of class counts at which the rarer class takes the whole label, at least 1; 3 in [0].
        tau: Largest share of the frequent image at which it does so, in [0, 1]; 0.5 in [0].
        **kwargs: ``start``, ``end`` and ``class_counts`` of :class:`PriorBatchAugment`.
    """

    def __init__(self, *, alpha: float = 1.0, kappa: float = 3.0, tau: float = 0.5, **kwargs: Any) -> None:
        check(kappa=(kappa, '>= 1'), tau=(tau, 'in [0, 1]'))
        super().__init__(alpha=alpha, **kwargs)
        self.kappa, self.tau = kappa, tau

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        share, partner = np.random.beta(self.alpha, self.alpha), torch.randperm(len(inputs)).to(inputs.device)
        counts = self.counts_of(score)
        label_share = remix_label_share(share, counts, counts[partner], self.kappa, self.tau)
        return mix_rows(inputs, inputs[partner], share), mix_rows(score, score[partner], label_share)

    def extra_repr(self) -> str:
        return f'kappa={self.kappa}, tau={self.tau}, {super().extra_repr()}'
