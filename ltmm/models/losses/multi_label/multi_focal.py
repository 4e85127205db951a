"""The formula that COMIC's modifier and its label corrector have in common."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional import fused_loss, with_exceptions
from .base import positives_of

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


def companions(image: Tensor, label: Tensor, share: Tensor, num_images: int) -> Tensor:
    """How strongly each class goes with the positives of each image, up to a factor of the image, (N, C).

    The row of an image without positives, or of one whose positives come with nothing, is zero.

    Args:
        image: of each positive label, rising, (P,).
        label: class of each positive label, (P,).
        share: share of the images of the second class that hold the first, (C, C).
        num_images: N.
    """
    first = torch.searchsorted(image, torch.arange(num_images, device=image.device))  # (N,)
    return F.embedding_bag(label, share, first, mode='sum')


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
    total: bool = False,
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
        total: see :func:`~ltmm.models.losses.functional.fused_loss`.
    """
    num_classes = target.size(1)
    positives = positives_of(target)  # (P,)
    image, label = positives // num_classes, positives % num_classes
    weight = class_weight * factor  # (C,)
    gamma = gamma_neg + class_weight  # (C,)
    alone, sure, weight_of_positives = 1.0, None, weight[label]
    if share is not None:
        company = companions(image, label, share, len(target))  # (N, C)
        total_company = company.sum(dim=1)  # (N,)
        alone = 1 - company.flatten()[positives] / total_company.where(total_company > 0, 1)[image]  # (P,)
        sure = company.sign().mul_(boost - 1).add_(1)  # (N, C), what t of negatives is multiplied by

    def truth_of_negatives(score: Tensor) -> Tensor:
        truth = (1 + clip - score).clamp(max=1)
        return truth if sure is None else (truth * sure).clamp(max=1)

    def loss_of(truth: Tensor, exponent: Tensor | float, weight: Tensor) -> Tensor:
        wrong = 1 - (truth.detach() if detach_focus else truth)
        return -weight * wrong**exponent * truth.clamp(min=eps).log()

    def of_negatives(cls_score: Tensor) -> Tensor:
        return loss_of(truth_of_negatives(cls_score.sigmoid()), gamma, weight * (target + 1).clamp(max=1))

    def of_negatives_with_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        score = cls_score.sigmoid()
        wrong = F.softshrink(score, clip)  # max(p - clip, 0)
        if sure is not None:
            wrong = (1 - (1 - wrong).mul_(sure)).clamp_(min=0)
        truth = 1 - wrong
        # a logarithm and an exponential are faster than a power, where neither of them leaves the range of numbers
        focus = wrong.clamp(min=1e-8).log2_().mul_(gamma - 1).exp2_().mul_(wrong)
        focus.mul_(weight).addcmul_(focus, target)  # 0 for unknown labels
        slope = focus / (truth if clip > eps else F.threshold(truth, eps, torch.inf))
        if sure is not None:
            slope.mul_(sure)
        log = wrong.neg_().log1p_() if clip > eps else truth.clamp_(min=eps).log_()
        return log.mul_(focus).neg_(), torch.ops.aten.sigmoid_backward(slope, score)

    def of_positives(cls_score: Tensor) -> Tensor:
        return loss_of(cls_score.sigmoid() * alone, gamma_pos, weight_of_positives)

    def of_positives_with_grad(cls_score: Tensor) -> tuple[Tensor, Tensor]:
        score = cls_score.sigmoid()
        truth = score * alone
        focus = (1 - truth).pow_(gamma_pos).mul_(weight_of_positives).neg_()
        return focus * truth.clamp(min=eps).log_(), focus * (1 - score) * (truth > eps)

    exceptions = (positives, of_positives, of_positives_with_grad)
    if detach_focus:
        return fused_loss(cls_score, of_negatives, of_negatives_with_grad, exceptions=exceptions, total=total)
    loss = with_exceptions(of_negatives, positives, of_positives)(cls_score)
    return loss.sum() if total else loss
