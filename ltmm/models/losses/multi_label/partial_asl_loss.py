"""Asymmetric loss for partial labels, with a separate treatment of unknown ones."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import gather_with_own
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..functional import power
from .asl_loss import probability_of_truth
from .base import MultiLabelPriorLoss

__all__ = ['PartialASLLoss', 'least_likely', 'partial_asl_loss']

MODES = ('ignore', 'ignore_normalize', 'negative', 'selective')


def partial_asl_loss(
    cls_score: Tensor,
    target: Tensor,
    known: Tensor,
    kept: Tensor | None,
    gammas: tuple[float, float, float],
    alphas: tuple[float, float, float],
    clip: float,
    eps: float,
) -> Tensor:
    r"""Compute :math:`-\alpha_s (1 - t)^{\gamma_s} \log t` with t the probability of the truth, (N, C).

    Args:
        cls_score: Logits, (N, C).
        target: 1 positive, 0 negative or unknown, (N, C).
        known: 1 known, 0 unknown, (N, C).
        kept: 1 for unknown labels to learn from, else 0, (N, C); None for none.
        gammas: Exponents of positives, negatives and unknown labels.
        alphas: Weights of positives, negatives and unknown labels.
        clip: Margin of labels that are not positive.
        eps: Lower bound of t.
    """
    truth = F.hardtanh(probability_of_truth(cls_score, target, clip), eps, 1)  # clamp, with a faster backward
    wrong = 1 - truth.detach()
    positive, negative = alphas[0] * power(wrong, gammas[0]), alphas[1] * power(wrong, gammas[1])
    focus = torch.lerp(negative, positive, target) * known
    if kept is not None:
        focus = focus + alphas[2] * kept * power(wrong, gammas[2])
    return -focus * truth.log()


def least_likely(cls_score: Tensor, unknown: Tensor, topk: int) -> Tensor:
    """Drop the unknown labels with the highest logits in the batches of all ranks; return 1 for the others, else 0.

    Args:
        cls_score: Logits, (N, C).
        unknown: 1 for unknown labels, else 0, (N, C).
        topk: How many to drop, times the number of images.
    """
    (score, kept), own = gather_with_own(cls_score.masked_fill(unknown == 0, -torch.inf), unknown)
    dropped = score.flatten().topk(min(topk * len(score), score.numel()), sorted=False).indices
    return kept.flatten().index_fill(0, dropped, 0).view_as(kept)[own]


@MODELS.register_module()
class PartialASLLoss(MultiLabelPriorLoss):
    r"""Asymmetric loss that treats unknown labels as weak negatives, except those likely to be positive.

    .. math::
        \ell_{ic} = -w_{ic} \, \alpha_s \, (1 - t_{ic})^{\gamma_s} \log t_{ic}, \qquad
        t_{ic} = p_{ic} \text{ if } s = \text{positive, else } \min(1 - p_{ic} + m, 1)

    s is positive, negative or unknown; the powers have no gradient.

    ======================== ===========================================================================================
    ``mode``                 w of unknown labels
    ======================== ===========================================================================================
    ``'negative'``           1
    ``'ignore'``             0
    ``'ignore_normalize'``   0; the known labels of an image have 1 + 1 / (1 + their number)
    ``'selective'``          1; 0 for the ``topk`` * N of the batch with the highest scores, and for classes whose share
                             of the training images is above ``prior_threshold``
    ======================== ===========================================================================================

    [1] reads the prior from a file; here it is the class distribution of the training data, which counts the known
    positives.

    [0] Ben-Baruch et al., Multi-label Classification with Partial Annotations using Class-aware Selective Loss,
        CVPR 2022, arXiv 2110.10955.
    [1] github.com/Alibaba-MIIL/PartialLabelingCSL, ``PartialSelectiveLoss``, as in github.com/wannature/COMIC @1de14e5.
        Reproduces it to 1e-6 (tests/conformance, ``partial_asl``).

    Args:
        mode: See above.
        gamma_pos: Focusing of positives.
        gamma_neg: Focusing of negatives.
        gamma_unknown: Focusing of unknown labels.
        alpha_pos: Weight of positives.
        alpha_neg: Weight of negatives.
        alpha_unknown: Weight of unknown labels.
        clip: m.
        topk: Unknown labels to drop per image, on average, in ``'selective'``.
        prior_threshold: See ``'selective'``; None drops no class.
        eps: Lower bound of t in the logarithm; no gradient below it.
        **kwargs: Arguments of :class:`MultiLabelPriorLoss`; reduction ``'sum'`` by default, as in [1].
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        mode: str,
        gamma_pos: float = 0.0,
        gamma_neg: float = 1.0,
        gamma_unknown: float = 4.0,
        alpha_pos: float = 1.0,
        alpha_neg: float = 1.0,
        alpha_unknown: float = 1.0,
        clip: float = 0.05,
        topk: int | None = None,
        prior_threshold: float | None = None,
        eps: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        self.gammas, self.alphas = (gamma_pos, gamma_neg, gamma_unknown), (alpha_pos, alpha_neg, alpha_unknown)
        check(mode=(mode, MODES), gammas=(self.gammas, '>= 0'), alphas=(self.alphas, '>= 0'))
        check(clip=(clip, 'in [0, 1)'), eps=(eps, 'in (0, 1)'), topk=(topk, 'int >= 0 or None'))
        check(prior_threshold=(prior_threshold, 'in (0, 1) or None'))
        if (topk is not None) != (mode == 'selective') or (prior_threshold is not None and mode != 'selective'):
            raise InputError(
                "mode='selective' needs `topk`, and only it takes `prior_threshold`, but got "
                f'mode={mode!r}, topk={topk} and prior_threshold={prior_threshold}.'
            )
        self.mode, self.clip, self.topk, self.prior_threshold, self.eps = mode, clip, topk, prior_threshold, eps
        super().__init__(**dict(dict(reduction='sum'), **kwargs))

    @property
    def needs_whole_batch(self) -> bool:
        return self.mode == 'selective' or super().needs_whole_batch

    @property
    def needs_num_images(self) -> bool:
        return self.prior_threshold is not None

    def check_logits(self, cls_score: Tensor) -> None:
        if self.prior_threshold is not None:  # nothing else depends on the class distribution
            super().check_logits(cls_score)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        if self.prior_threshold is not None:
            self.register_derived('rare', distribution.image_frequency <= self.prior_threshold)

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return self.unreduced_partial(cls_score, target, torch.ones_like(target))

    def unreduced_partial(self, cls_score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        kept = 1 - known if self.mode in ('negative', 'selective') else None
        if self.mode == 'selective':
            kept = least_likely(cls_score.detach(), kept, self.topk)
            kept = kept if self.prior_threshold is None else kept * self.rare.to(kept)
        loss = partial_asl_loss(cls_score, target, known, kept, self.gammas, self.alphas, self.clip, self.eps)
        if self.mode == 'ignore_normalize':
            loss = loss * (1 + 1 / (1 + known.sum(1, keepdim=True)))
        return loss

    def extra_repr(self) -> str:
        return (
            f'mode={self.mode!r}, gammas={self.gammas}, alphas={self.alphas}, clip={self.clip}, topk={self.topk}, '
            f'prior_threshold={self.prior_threshold}, {super().extra_repr()}'
        )
