"""The formula that asymmetric loss and its variant for partial labels have in common."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional import fused_loss
from .base import positives_of

__all__ = ['asymmetric', 'power']


def power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` of a base of at least 0; of the common exponents without the slow general power."""
    if exponent == 4:
        return base.square().square_()
    if exponent in (0, 1, 2):
        return torch.ones_like(base) if exponent == 0 else base if exponent == 1 else base.square()
    return base.pow(exponent)


def asymmetric(
    cls_score: Tensor,
    target: Tensor,
    gammas: tuple[float, ...],
    focus: Callable[[Tensor], Tensor],
    clip: float,
    eps: float,
    detach_focus: bool = True,
    alpha_pos: float = 1.0,
    total: bool = False,
) -> Tensor:
    r"""Loss :math:`-f(1 - t) \log \max(t, \epsilon)` of the probability t of the truth, (N, C).

    t is p for a positive label, min(1 - p + clip, 1) for another. Positives are few: they are computed apart.

    Args:
        cls_score: logits, (N, C).
        target: 1 positive, else 0 or -1, (N, C).
        gammas: exponents of positives, and of all others there are.
        focus: f of the labels that are not positive, from their 1 - t to weights, (N, C) both.
        clip: negatives that score up to this count as right.
        eps: probabilities below this have a constant loss.
        detach_focus: no gradient through f; otherwise f has to be the power that ``gammas`` says.
        alpha_pos: factor of positives, for which f is a power.
        total: see :func:`~ltmm.models.losses.functional.fused_loss`.
    """

    def focus_of_positives(wrong: Tensor) -> Tensor:
        return alpha_pos * power(wrong, gammas[0])

    def loss_of(truth: Tensor, focus: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.set_grad_enabled(not detach_focus and torch.is_grad_enabled()):
            weight = focus(1 - truth)
        return -weight * truth.clamp(min=eps).log()

    def with_slope(
        truth: Tensor, wrong: Tensor, weight: Tensor, gamma: float, log: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Losses, and how fast they fall with t, which is used up; ``log`` is its logarithm if it stays above eps."""
        if log is None:
            log = truth.clamp(min=eps).log_()
            F.threshold_(truth, eps, torch.inf)  # no slope below eps
        slope = torch.div(weight, truth, out=truth)
        loss = log.mul_(weight).neg_()
        if not detach_focus:
            slope.add_((gamma * loss).div_(wrong.clamp(min=torch.finfo(wrong.dtype).tiny)))
        return loss, slope

    def of_others(cls_score: Tensor) -> Tensor:
        return loss_of((1 + clip - cls_score.sigmoid()).clamp(max=1), focus)

    def of_others_with_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        prob = cls_score.sigmoid()
        wrong = F.softshrink(prob, clip)  # max(p - clip, 0)
        log = wrong.neg().log1p_() if clip > eps else None
        loss, slope = with_slope(1 - wrong, wrong, focus(wrong), gammas[1], log)
        if clip and (0 in gammas[1:] or not detach_focus):
            slope.mul_(wrong.sign_())  # easy negatives are right whatever their score
        return loss, torch.ops.aten.sigmoid_backward(slope, prob)

    def of_positives(score: Tensor) -> Tensor:
        return loss_of(score.sigmoid(), focus_of_positives)

    def of_positives_with_grad(score: Tensor) -> tuple[Tensor, Tensor]:
        prob = score.sigmoid()
        wrong = 1 - prob
        loss, slope = with_slope(prob.clone(), wrong, focus_of_positives(wrong), gammas[0])
        return loss, torch.ops.aten.sigmoid_backward(slope, prob).neg_()

    exceptions = (positives_of(target), of_positives, of_positives_with_grad)
    return fused_loss(cls_score, of_others, of_others_with_grad, exceptions=exceptions, total=total)
