"""COMIC's head-tail balancer: pull the balanced branch to head and tail branch, more to the one with larger loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import InnerLoss, at_least_float32, mean_over_ranks
from ..build import build_loss

__all__ = ['HeadTailBalancerLoss', 'head_tail_balancer_loss']


def head_tail_balancer_loss(
    head: Tensor, tail: Tensor, balanced: Tensor, loss: Callable[[Tensor], Tensor], gamma: float
) -> Tensor:
    """Compute the loss of the balanced logits, reweighted by the softmax of head and tail logits.

    Args:
        head: Logits of the head branch, (N, C).
        tail: Logits of the tail branch, (N, C).
        balanced: Logits of the balanced branch, (N, C).
        loss: A function from logits, (N, C), to a scalar.
        gamma: Exponent of the weights.
    """
    share = balanced.softmax(dim=1)  # (N, C)
    guides = [branch.detach().softmax(dim=1) * share for branch in (head, tail)]
    losses, guided = mean_over_ranks(torch.stack([loss(score) for score in (head, tail, *guides)])).chunk(2)  # (2,)
    weight = losses**gamma
    weight = weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    return (weight * guided).sum()


@MODELS.register_module()
class HeadTailBalancerLoss(NeedsWholeBatch, InnerLoss):
    r"""Pulls the balanced branch to the head and the tail branch, more to the one with the larger loss.

    .. math:: L = \sum_{b \in \{h, t\}} \frac{\ell_b^\gamma}{\ell_h^\gamma + \ell_t^\gamma} \,
              \ell\bigl(\mathrm{sg}[\mathrm{softmax}(z_b)] \odot \mathrm{softmax}(z)\bigr), \qquad \ell_b = \ell(z_b)

    The gradient also flows through the weights; sg is stop-gradient.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``HeadTailBalancerLoss``, commented out in its training code. Reproduces
        [1] to 1e-6 (tests/conformance, ``comic_htb``).

    Args:
        loss: :math:`\ell`, a multi-label loss of ltmm with a scalar value.
        gamma: Exponent of the weights; 0 gives both branches the same weight.
        loss_weight: Weight of the loss.
    """

    def __init__(self, *, loss: nn.Module | dict, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check(gamma=(gamma, '>= 0'), loss_weight=(loss_weight, '>= 0'))
        self.loss = build_loss(loss)
        if self.loss.reduction == 'none':
            raise InputError("HeadTailBalancerLoss: expected `loss` to return a scalar, but got reduction='none'.")
        self.gamma, self.loss_weight = gamma, loss_weight

    def forward(self, head: Tensor, tail: Tensor, balanced: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            head: Logits of the head branch, (N, C).
            tail: Logits of the tail branch, (N, C).
            balanced: Logits of the balanced branch, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).
        """
        head, tail, balanced = (at_least_float32(score) for score in (head, tail, balanced))
        with torch.autocast(balanced.device.type, enabled=False):
            loss = head_tail_balancer_loss(
                head, tail, balanced, lambda cls_score: self.loss(cls_score, target), self.gamma
            )
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, loss_weight={self.loss_weight}'
