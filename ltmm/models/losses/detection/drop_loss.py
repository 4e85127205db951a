"""DropLoss, and GOL: background gives tail classes negatives as often as they occur among the objects of the batch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import at_least_float32, mean_over_ranks
from ..functional import positives
from .eql_loss import EQLLoss
from .gumbel_loss import PRIOR_PROB, gumbel_activation, gumbel_cross_entropy

__all__ = ['DropLoss', 'drop_weight', 'tail_share']

ACTIVATIONS = ('sigmoid', 'gumbel')


def tail_share(label: Tensor, is_tail: Tensor) -> Tensor:
    """Compute the share of tail classes among the objects of all ranks; 1 without any object.

    Args:
        label: Class indices, (N,); C is background.
        is_tail: 1 for tail classes, 0 for the others, (C,).
    """
    num_tail = F.pad(is_tail, (0, 1))[label].sum()
    num_objects = (label < len(is_tail)).sum().to(is_tail)
    num_tail, num_objects = mean_over_ranks(torch.stack([num_tail, num_objects]))
    share = num_tail / num_objects.clamp(min=torch.finfo(is_tail.dtype).tiny)
    return torch.where(num_objects > 0, share, 1)


def drop_weight(label: Tensor, is_tail: Tensor, uniform: Tensor) -> Tensor:
    """Return 0 for the dropped negatives and 1 for all other entries, (N, C).

    Args:
        label: Class indices, (N,); C is background.
        is_tail: 1 for tail classes, 0 for the others, (C,).
        uniform: Uniform numbers in [0, 1), (N, C).
    """
    is_object = (label < len(is_tail)).unsqueeze(1)
    dropped = is_object | (uniform > tail_share(label, is_tail))
    return 1 - is_tail.to(uniform) * dropped


@MODELS.register_module()
class DropLoss(EQLLoss):
    r"""Drops the negatives of tail classes on objects, and at random on background; with Gumbel activation it is GOL.

    .. math::
        L = \frac{1}{N} \sum_{ij} w_{ij} \, \mathrm{BCE}(s(z_{ij}), y_{ij}), \qquad
        w_{ij} = 1 - [f_j < \lambda] (1 - y_{ij}) \, (E_i + (1 - E_i) [u_{ij} > \rho])

    As in EQL, E_i is 1 for an object and 0 for background, and f_j is the share of the training images that contain
    class j. u_ij is drawn uniformly in each iteration, and rho is the share of tail classes among the objects of the
    batch, on all ranks: without tail objects, background gives tail classes no gradient; without any object nothing is
    dropped (rho = 1). s is the sigmoid (DropLoss), or the Gumbel activation exp(-exp(-z)) of logits clamped to
    [-4, 10] in training (GOL [2]). There is no background column. In dense and DETR heads, s has to be the sigmoid, and
    each level or decoder layer has its own rho.

    [0] Hsieh et al., DropLoss for Long-Tail Instance Segmentation, AAAI 2021, arXiv 2104.06402.
    [1] github.com/timy90022/DropLoss @b6ed7f0.
    [2] Alexandridis et al., Long-tailed Instance Segmentation using Gumbel Optimized Loss, ECCV 2022, arXiv 2207.10936.
    [3] github.com/kostas1515/GOL @70026b7, ``DropLoss``. Reproduces [3] to 1e-6 (tests/conformance, ``gol_gumbel``).

    Args:
        lambda_: Frequency below which classes are tail classes; 0.0011 for LVIS v1 in [3], 0.00177 for LVIS v0.5 in
            [1].
        activation: ``'sigmoid'`` or ``'gumbel'``.
        **kwargs: Arguments of :class:`EQLLoss`.
    """

    def __init__(self, *, lambda_: float, activation: str = 'sigmoid', **kwargs: Any) -> None:
        check(activation=(activation, ACTIVATIONS))
        self.activation = activation
        super().__init__(lambda_=lambda_, **kwargs)
        if activation == 'gumbel':
            self.prior_prob, self.use_sigmoid = PRIOR_PROB, None

    @property
    def needs_whole_batch(self) -> bool:
        return True  # for the share of tail classes

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        target = positives(label, cls_score.size(1)).to(cls_score)
        weight = drop_weight(label, self.is_tail, torch.rand_like(cls_score)).maximum(target)  # (N, C)
        if self.activation == 'gumbel':
            return gumbel_cross_entropy(cls_score, target, weight).sum(1)
        return F.binary_cross_entropy_with_logits(cls_score, target, weight, reduction='none').sum(1)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores (N, C + 1); that of background is 0."""
        if self.activation == 'sigmoid':
            return super().get_activation(cls_score)
        return F.pad(gumbel_activation(at_least_float32(cls_score)), (0, 1))

    def get_dense_channels(self, num_classes: int) -> int:
        """Return the width of the classifier of a dense or DETR head, C."""
        if self.activation == 'gumbel':
            raise InputError(
                "DropLoss(activation='gumbel') is for box heads: mmdet's dense and DETR heads take a sigmoid of their "
                "logits. Use activation='sigmoid'."
            )
        return super().get_dense_channels(num_classes)

    def extra_repr(self) -> str:
        return f'activation={self.activation!r}, {super().extra_repr()}'
