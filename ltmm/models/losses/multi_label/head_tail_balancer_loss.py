"""COMIC's head-tail balancer: the branch that has more to learn, head or tail, guides the balanced one more."""

from collections.abc import Callable

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..base import InnerLoss, at_least_float32, check_at_least_zero

__all__ = ['HeadTailBalancerLoss', 'head_tail_balancer_loss']


def head_tail_balancer_loss(
    head: Tensor, tail: Tensor, balanced: Tensor, loss: Callable[[Tensor], Tensor], gamma: float
) -> Tensor:
    """The loss of the balanced logits, reweighted by the softmax of head and of tail.

    Args:
        head: logits of the head branch, (N, C).
        tail: logits of the tail branch, (N, C).
        balanced: logits of the balanced branch, (N, C).
        loss: a number for logits (N, C).
        gamma: exponent of the weights.
    """
    losses = torch.stack([loss(head), loss(tail)]) ** gamma  # (2,)
    weight = losses / losses.sum().clamp(min=torch.finfo(losses.dtype).tiny)
    share = balanced.softmax(dim=1)  # (N, C)
    guided = torch.stack([loss(branch.detach().softmax(dim=1) * share) for branch in (head, tail)])  # (2,)
    return (weight * guided).sum()


@MODELS.register_module()
class HeadTailBalancerLoss(InnerLoss):
    r"""Draws the balanced branch to where head and tail branch agree with it, most to the one with the larger loss.

    .. math:: L = \sum_{b \in \{h, t\}} \frac{\ell_b^\gamma}{\ell_h^\gamma + \ell_t^\gamma} \,
              \ell\bigl(\mathrm{sg}[\mathrm{softmax}(z_b)] \odot \mathrm{softmax}(z)\bigr), \qquad \ell_b = \ell(z_b)

    The gradient flows through the weights too; sg stops it at the softmax of head and tail.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``HeadTailBalancerLoss``; the training code of [1] has it commented out.
        Equal to [1] on its own numbers (tests/conformance, ``comic_htb``).

    Args:
        loss: the loss :math:`\ell`, a multi-label loss of ltmm.
        gamma: exponent of the weights; 0 weighs both branches alike.
        loss_weight: factor of the loss.

    Raises:
        ValueError: ``gamma`` or ``loss_weight`` is negative, or the loss keeps one value a label.
    """

    def __init__(self, loss: dict, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_at_least_zero('gamma', gamma)
        check_at_least_zero('loss_weight', loss_weight)
        self.loss = MODELS.build(loss)
        if self.loss.reduction == 'none':
            raise ValueError("HeadTailBalancerLoss needs one number of its loss, but got one with reduction='none'.")
        self.gamma, self.loss_weight = gamma, loss_weight

    def forward(self, head: Tensor, tail: Tensor, balanced: Tensor, target: Tensor) -> Tensor:
        """The loss.

        Args:
            head: logits of the head branch, (N, C).
            tail: logits of the tail branch, (N, C).
            balanced: logits of the balanced branch, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).

        Raises:
            ValueError: as the inner loss raises it.
        """
        head, tail, balanced = (at_least_float32(score) for score in (head, tail, balanced))
        with torch.autocast(balanced.device.type, enabled=False):
            loss = head_tail_balancer_loss(
                head, tail, balanced, lambda cls_score: self.loss(cls_score, target), self.gamma
            )
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, loss_weight={self.loss_weight}'
