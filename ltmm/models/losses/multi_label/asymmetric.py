"""The formula that asymmetric loss and its variant for partial labels have in common."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.fused import fused_loss

__all__ = ['asymmetric', 'power', 'prob_of_truth']


def power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` of a base of at least 0; of the common exponents without the slow general power."""
    if exponent == 4:
        return base.square().square_()
    if exponent == 1:
        return base
    return torch.ones_like(base) if exponent == 0 else base.pow(exponent)


def prob_of_truth(prob: Tensor, positive: Tensor, clip: float) -> Tensor:
    """p for a positive label, min(1 - p + clip, 1) for a negative one, (N, C).

    Args:
        prob: p, (N, C).
        positive: 1 positive, 0 negative, (N, C).
        clip: negatives that score up to this count as right.
    """
    return torch.lerp((1 + clip - prob).clamp(max=1), prob, positive)


def asymmetric(
    cls_score: Tensor,
    inputs: tuple[Tensor, ...],
    focus: Callable[..., Tensor],
    clip: float,
    eps: float,
    gamma: Callable[..., Tensor] | None = None,
) -> Tensor:
    r"""Loss :math:`-f(1 - t) \log \max(t, \epsilon)` of the probability t of the truth, (N, C).

    Args:
        cls_score: logits, (N, C).
        inputs: labels, 1 positive, 0 negative, (N, C), and what else f depends on, of N rows each.
        focus: f, from 1 - t, (N, C), and ``inputs`` to weights, (N, C).
        clip: see :func:`prob_of_truth`.
        eps: probabilities below this have a constant loss.
        gamma: from ``inputs`` to the exponents of f, (N, C), if it is a power and the gradient is to flow through it
            too; None detaches f.
    """

    def value(cls_score: Tensor, positive: Tensor, *others: Tensor) -> Tensor:
        truth = prob_of_truth(cls_score.sigmoid(), positive, clip)
        with torch.set_grad_enabled(gamma is not None and torch.is_grad_enabled()):
            weight = focus(1 - truth, positive, *others)
        return -weight * truth.clamp(min=eps).log()

    def value_and_grad(cls_score: Tensor, positive: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        prob = cls_score.sigmoid()
        truth = prob_of_truth(prob, positive, clip)  # t
        wrong = 1 - truth
        weight = focus(wrong, positive, *others)
        loss = truth.clamp(min=eps).log_().mul_(weight).neg_()
        grad = weight / F.threshold(truth, eps, torch.inf)  # - d loss / d t, 0 below eps
        if gamma is not None:
            grad.add_((gamma(positive, *others) * loss).div_(wrong.clamp(min=torch.finfo(wrong.dtype).tiny)))
        slope = torch.addcmul(prob, prob, prob, value=-1)  # +-d t / d z = p (1 - p)
        if clip:
            slope.mul_(wrong.sign_())  # easy negatives are right whatever their score
        grad.mul_(slope)
        return loss, grad.addcmul_(grad, positive, value=-2)  # falls with the score of a positive

    return fused_loss(cls_score, value, value_and_grad, inputs=inputs)
