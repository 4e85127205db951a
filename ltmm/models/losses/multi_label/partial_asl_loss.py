"""Asymmetric loss for partial labels: what becomes of the unknown ones."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .asl_loss import check_asymmetric
from .asymmetric import asymmetric, power
from .base import MultiLabelPriorLoss

__all__ = ['PartialASLLoss', 'highest', 'selected_unknown']

GROUP = 32  # scores that are compared at a time
MODES = ('ignore', 'ignore_normalize', 'negative', 'selective')


def selected_unknown(cls_score: Tensor, unknown: Tensor, num_dropped: int, likely: Tensor | None) -> Tensor:
    """Which unknown labels count as negatives, 1 or 0, (N, C): not the likeliest ones, and none of a frequent class.

    Args:
        cls_score: logits, (N, C).
        unknown: 1 for unknown labels, else 0, (N, C).
        num_dropped: how many of the batch to drop, those with the highest logits.
        likely: 1 for classes whose unknown labels are all dropped, else 0, (C,).
    """
    lowest = torch.finfo(cls_score.dtype).min / 2
    score = (unknown - 1).mul_(-lowest).addcmul_(cls_score, unknown).flatten()  # known labels come last
    dropped = highest(score, min(num_dropped, len(score)))  # a known one among them changes nothing
    kept = unknown.flatten().index_fill(0, dropped, 0).view_as(unknown)
    return kept if likely is None else kept * (1 - likely)


def highest(score: Tensor, k: int) -> Tensor:
    """Where the k highest scores are, (k,): they are among the k groups with the highest maxima."""
    num_groups = len(score) // GROUP
    if len(score) % GROUP or num_groups <= k:
        return score.topk(k, sorted=False).indices
    groups = score.view(GROUP, num_groups)
    best = groups.amax(0).topk(k, sorted=False).indices
    position = groups[:, best].flatten().topk(k, sorted=False).indices
    return position // k * num_groups + best[position % k]


@MODELS.register_module()
class PartialASLLoss(MultiLabelPriorLoss):
    r"""Takes unknown labels for weak negatives, apart from those that are likely to be positive.

    .. math::
        \ell_{ic} = -w_{ic} \, \alpha_s \, (1 - t_{ic})^{\gamma_s} \log t_{ic}, \qquad
        t_{ic} = p_{ic} \text{ if } s = \text{positive, else } \min(1 - p_{ic} + m, 1)

    s is positive, negative or unknown; the powers have no gradient.

    ======================== ===========================================================================================
    ``mode``                 w of an unknown label
    ======================== ===========================================================================================
    ``'negative'``           1
    ``'ignore'``             0
    ``'ignore_normalize'``   0; the known labels of an image have 1 + 1 / (1 + their number)
    ``'selective'``          1; 0 for the ``topk`` * N of the batch with the highest scores, and for classes whose share
                             of the training images is above ``prior_threshold``
    ======================== ===========================================================================================

    The prior of [1] is a file of its own; ours is the class distribution of the training data, which with partial
    labels counts the known positives only.

    [0] Ben-Baruch et al., Multi-label Classification with Partial Annotations using Class-aware Selective Loss,
        CVPR 2022, arXiv 2110.10955.
    [1] github.com/Alibaba-MIIL/PartialLabelingCSL, ``PartialSelectiveLoss``, as in github.com/wannature/COMIC @1de14e5.
        Equal to it on its own numbers (tests/conformance, ``partial_asl``).

    Args:
        mode: see above.
        gamma_pos: focusing of positives.
        gamma_neg: focusing of negatives.
        gamma_unknown: focusing of unknown labels.
        alpha_pos: factor of positives.
        alpha_neg: factor of negatives.
        alpha_unknown: factor of unknown labels.
        clip: m, in [0, 1).
        topk: unknown labels an image to drop on average, of ``'selective'``.
        prior_threshold: of ``'selective'``, in (0, 1); None drops no class.
        eps: t counts as at least this; below it a label has no gradient.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.multi_label.base.MultiLabelPriorLoss`; reduction ``'sum'`` when left out, as in
            [1].

    Raises:
        ValueError: an unknown mode, a number out of range, or an argument that belongs to ``'selective'``.
        RuntimeError: ``prior_threshold`` at the first forward, when no class distribution has arrived.
    """

    accepts_unknown = True
    gives_total = True

    def __init__(
        self,
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
        if mode not in MODES:
            raise ValueError(f'Expected `mode` to be one of {list(MODES)}, but got {mode!r}.')
        if (topk is not None) != (mode == 'selective') or (prior_threshold is not None and mode != 'selective'):
            raise ValueError(
                "`topk`, and `prior_threshold` if any, belong to mode='selective', but got "
                f'mode={mode!r}, topk={topk} and prior_threshold={prior_threshold}.'
            )
        if prior_threshold is not None and not 0 < prior_threshold < 1:
            raise ValueError(f'Expected `prior_threshold` to be in (0, 1), but got {prior_threshold}.')
        gammas = dict(gamma_pos=gamma_pos, gamma_neg=gamma_neg, gamma_unknown=gamma_unknown)
        alphas = dict(alpha_pos=alpha_pos, alpha_neg=alpha_neg, alpha_unknown=alpha_unknown)
        check_asymmetric(clip, eps, topk=topk or 0, **gammas, **alphas)
        self.mode, self.clip, self.topk, self.prior_threshold, self.eps = mode, clip, topk, prior_threshold, eps
        self.gammas, self.alphas = tuple(gammas.values()), tuple(alphas.values())
        super().__init__(**dict(dict(reduction='sum'), **kwargs))

    @property
    def needs_distribution(self) -> bool:
        """Only the threshold of the prior asks for it."""
        return self.prior_threshold is not None

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep which classes are likely to be positive where they are unknown."""
        if self.prior_threshold is not None:
            self.register_derived('likely', distribution.image_frequency > self.prior_threshold)

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        """See :func:`~ltmm.models.losses.multi_label.asymmetric.asymmetric`."""
        kept = None
        if self.mode == 'selective':
            likely = None if self.prior_threshold is None else self.likely.to(target)
            kept = selected_unknown(cls_score.detach(), -target.clamp(max=0), self.topk * len(target), likely)
        normalize = self.mode == 'ignore_normalize'
        loss = asymmetric(
            cls_score,
            target,
            self.gammas,
            partial(self.focus, target=target, kept=kept),
            self.clip,
            self.eps,
            alpha_pos=self.alphas[0],
            total=total and not normalize,
        )
        if not normalize:
            return loss
        num_known = target.size(1) + target.clamp(max=0).sum(1, keepdim=True)  # (N, 1)
        loss = loss * (1 + 1 / (1 + num_known))
        return loss.sum() if total else loss

    def focus(self, wrong: Tensor, target: Tensor, kept: Tensor | None = None) -> Tensor:
        """Weights of the labels that are not positive, (N, C).

        Args:
            wrong: 1 - t, (N, C).
            target: 0 negative, -1 unknown, (N, C).
            kept: 1 for unknown labels that ``'selective'`` does not drop, else 0, (N, C).
        """
        weight = power(wrong, self.gammas[1])
        weight = torch.addcmul(weight, weight, target).mul_(self.alphas[1])  # 0 of unknown ones
        if self.mode in ('ignore', 'ignore_normalize'):
            return weight
        kept = -target.clamp(max=0) if kept is None else kept
        return weight.addcmul_(power(wrong, self.gammas[2]), kept, value=self.alphas[2])

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'mode={self.mode!r}, gammas={self.gammas}, alphas={self.alphas}, clip={self.clip}, topk={self.topk}, '
            f'prior_threshold={self.prior_threshold}, {super().extra_repr()}'
        )
