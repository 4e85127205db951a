"""Gumbel activation of GOL: a sigmoid with a heavy upper tail, for classes that are rare in every proposal."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import at_least_float32, mean_over_ranks
from .base import DetectionLoss

__all__ = ['GumbelCrossEntropyLoss', 'gumbel_activation', 'gumbel_cross_entropy']

LOGIT_RANGE = (-4.0, 10.0)  # in training; no gradient outside
PRIOR_PROB = 1 / (1 + math.exp(2))  # gives the bias -2, where the Gumbel activation is 0.0006


def gumbel_activation(cls_score: Tensor) -> Tensor:
    r"""Compute :math:`\eta(z) = \exp(-\exp(-z))`."""
    return torch.exp(-torch.exp(-cls_score))


def gumbel_cross_entropy(cls_score: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the binary cross entropy of the Gumbel activation of logits clamped to [-4, 10], of the same shape.

    This is ``F.binary_cross_entropy``, as in the authors' code: below z = -3.3 its gradient of positives fades to 0,
    where that of -log(eta) would grow as exp(-z).

    Args:
        cls_score: Logits, (N, K).
        target: 0 or 1, (N, K).
        weight: Weight of each entry, (N, K).
    """
    return F.binary_cross_entropy(gumbel_activation(cls_score.clamp(*LOGIT_RANGE)), target, weight, reduction='none')


@MODELS.register_module()
class GumbelCrossEntropyLoss(DetectionLoss):
    r"""Replaces the sigmoid by the Gumbel activation, with larger gradients for objects of rare, low-scored classes.

    .. math::
        L = \min\Big(\frac{1}{N} \sum_{ij} \mathrm{BCE}(\eta(z_{ij}), [j = y_i]), L_\max\Big), \qquad
        \eta(z) = \exp(-e^{-z}), \quad z \in [-4, 10]

    The sum is over C classes and background, a column of its own. Above L_max the gradient is 0. Scores are the
    activations. ``ltmm.DropLoss(activation='gumbel')`` is GOL.

    [0] Alexandridis et al., Long-tailed Instance Segmentation using Gumbel Optimized Loss, ECCV 2022, arXiv 2207.10936.
    [1] github.com/kostas1515/GOL @70026b7, ``GumbelCE``. Reproduces [1] to 1e-6 (tests/conformance, ``gol_gumbel``).

    Args:
        max_loss: L_max, of the mean over the proposals of all ranks; 20 in [1].
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    num_background_columns = 1
    prior_prob = PRIOR_PROB
    use_sigmoid = None  # Gumbel activations

    def __init__(self, *, max_loss: float = 20.0, **kwargs: Any) -> None:
        check(max_loss=(max_loss, '> 0'))
        super().__init__(**kwargs)
        self.max_loss = max_loss

    @property
    def needs_whole_batch(self) -> bool:
        return True  # for the bound

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        target = F.one_hot(label, cls_score.size(1)).to(cls_score)
        return gumbel_cross_entropy(cls_score, target).sum(1)

    def reduce(self, loss: Tensor, reduction: str, avg_factor: float | None) -> Tensor:
        """Reduce the weighted loss; bound its mean."""
        value = super().reduce(loss, reduction, avg_factor)
        return mean_over_ranks(value).clamp(max=self.max_loss) if reduction == 'mean' else value

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores (N, C + 1), the last of background."""
        return gumbel_activation(at_least_float32(cls_score))

    def extra_repr(self) -> str:
        return f'max_loss={self.max_loss}, {super().extra_repr()}'
