"""The formula that COMIC's modifier and its label corrector have in common."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.fused import fused_loss

__all__ = ['companions', 'multi_focal', 'scarcity_weight']


def scarcity_weight(counts: Tensor, exponent: float) -> Tensor:
    r""":math:`(1 - \log(n_c / \max n))^e`, float64, (C,): 1 for the largest class, more for the tail, 0 for empty ones.

    Args:
        counts: n, (C,).
        exponent: e.
    """
    counts = counts.double()
    ratio = counts.clamp(min=1) / counts.max().clamp(min=1)
    return (1 - ratio.log()) ** exponent * (counts > 0)


def companions(positives: tuple[Tensor, Tensor], share: Tensor, num_images: int) -> Tensor:
    """How strongly each class goes with the positives of each image, (N, C), in rows of sum 1.

    The row of an image without positives, or of one whose positives come with nothing, is zero.

    Args:
        positives: image and class of each positive label, sorted by image, both (P,).
        share: share of the images of the second class that hold the first, float64, (C, C).
        num_images: N.
    """
    image, label = positives
    first = torch.searchsorted(image, torch.arange(num_images, device=image.device))  # (N,)
    company = F.embedding_bag(label, share, first, mode='sum')  # (N, C)
    total = company.sum(dim=1, keepdim=True)  # (N, 1)
    return company.div_(total.where(total > 0, 1.0))


def multi_focal(
    cls_score: Tensor,
    target: Tensor,
    class_weight: Tensor,
    gamma_neg: float,
    gamma_pos: float,
    clip: float,
    eps: float,
    share: Tensor | None = None,
    boost: float = 1.0,
    factor: Tensor | float = 1.0,
    detach_focus: bool = True,
) -> Tensor:
    r"""Loss :math:`-\omega (1 - t)^\gamma \log t` of the probability t of the truth, (N, C); 0 for unknown labels.

    Positives are few: they are computed apart, and put in their places among the negatives.

    Args:
        cls_score: logits, (N, C).
        target: 1 positive, 0 negative, -1 unknown, (N, C).
        class_weight: omega, which the exponent of negatives grows by too; at least 1, or 0, (C,).
        gamma_neg: exponent of negatives, without omega.
        gamma_pos: exponent of positives.
        clip: negatives that score up to this count as right.
        eps: probabilities below this have a constant loss.
        share: see :func:`companions`; None where nothing depends on the company of positives.
        boost: factor of t of the companions among the negatives.
        factor: of the loss, a number.
        detach_focus: no gradient flows through :math:`(1 - t)^\gamma`.
    """
    positives = target.clamp(min=0).nonzero(as_tuple=True)  # two of (P,)
    weight = class_weight * factor  # (C,)
    of_positive, of_known = weight[positives[1]], (target + 1).clamp_(max=1)  # (P,), (N, C)
    gamma = gamma_neg + class_weight  # (C,)
    if share is None:
        alone, sure = 1.0, None
    else:
        company = companions(positives, share, len(target)).to(cls_score)  # (N, C)
        alone = 1 - company[positives]  # (P,)
        sure = company.sign_().mul_(boost - 1).add_(1)  # (N, C)

    def truth_of_negatives(score: Tensor) -> Tensor:
        truth = (1 + clip - score).clamp(max=1)
        return truth if sure is None else (truth * sure).clamp(max=1)

    def value(cls_score: Tensor) -> Tensor:
        score = cls_score.sigmoid()
        losses = []
        for truth, exponent, factor in (
            (truth_of_negatives(score), gamma, weight * of_known),
            (score[positives] * alone, gamma_pos, of_positive),
        ):
            wrong = 1 - (truth.detach() if detach_focus else truth)
            losses.append(-factor * wrong**exponent * truth.clamp(min=eps).log())
        return losses[0].index_put(positives, losses[1])

    def value_and_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        score = cls_score.sigmoid()
        truth = truth_of_negatives(score)
        wrong = (1 - truth).clamp_(min=torch.finfo(truth.dtype).tiny)
        focus = wrong.log_().mul_(gamma).exp_().mul_(of_known).mul_(weight)  # faster than a power
        grad = score.square().sub_(score).mul_(focus).div_(truth.clamp_(min=eps)).neg_()  # 0 where t is 1: omega >= 1
        if sure is not None:
            grad.mul_(sure)
        if clip <= eps:
            grad.mul_(truth > eps)
        loss = truth.log_().mul_(focus).neg_()

        score = score[positives]  # (P,)
        truth = score * alone
        focus = (1 - truth).pow_(gamma_pos).mul_(of_positive).neg_()
        grad.index_put_(positives, focus * (1 - score) * (truth > eps))
        return loss.index_put_(positives, focus * truth.clamp(min=eps).log_()), grad

    return fused_loss(cls_score, value, value_and_grad) if detach_focus else value(cls_score)
