"""NCL: whole networks learn from all classes, from the hardest classes, and from each other."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import divisor
from ..objective import LossInputs
from .base import LOG_EPS, ExpertLoss, expert_cross_entropy

__all__ = ['NCLLoss', 'NestedExpertLoss', 'hard_categories', 'mutual_divergence']


def hard_categories(logits: Tensor, label: Tensor, num_hard: int) -> Tensor:
    """Return a mask (N, C) of the label and the other classes with the largest logits, ``num_hard`` in all.

    Args:
        logits: (N, C).
        label: Class indices, (N,).
        num_hard: Number of classes, the label included.
    """
    scores = logits.detach().scatter(1, label.unsqueeze(1), torch.inf)
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(num_hard, dim=1).indices, True)


def mutual_divergence(logits: Tensor, weight: Tensor | float = 1.0, eps: float = LOG_EPS) -> Tensor:
    r"""Compute :math:`\sum_{i \ne j} \sum_c w_c \, p_{j,c} (\log p_{j,c} - \log p_{i,c})` of K predictions, (N,).

    Both sides of each pair get a gradient.

    Args:
        logits: (K, N, C).
        weight: Factor of each class, w, (N, C).
        eps: Added to :math:`p_i` before taking the logarithm.
    """
    log_prob = logits.log_softmax(-1)
    prob = log_prob.exp()
    log_student = (prob + eps).log() if eps else log_prob
    log_ratio = (len(logits) - 1) * log_prob - (log_student.sum(0) - log_student)  # to all other predictions
    return (weight * prob * log_ratio).sum((0, 2))


class NestedExpertLoss(ExpertLoss):
    """Base class of NCL's losses: each expert learns all classes, and to tell the hardest ones of an image apart.

    Args:
        num_hard: Hard categories of an image, the label included; 0.3 C in the papers.
        ce_weight: Factor of the cross entropy over all classes.
        hard_weight: Factor of the cross entropy over the hard categories.
        mask_value: Logit of all other classes in the latter: they stay in its softmax with 0, as in the authors' code;
            -1e9 leaves them out, as in the papers.
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    def __init__(
        self,
        *,
        num_hard: int,
        ce_weight: float = 1.0,
        hard_weight: float = 1.0,
        mask_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check(
            num_hard=(num_hard, 'int >= 1'),
            ce_weight=(ce_weight, '>= 0'),
            hard_weight=(hard_weight, '>= 0'),
            mask_value=(mask_value, 'finite'),
        )
        self.num_hard, self.ce_weight, self.hard_weight, self.mask_value = num_hard, ce_weight, hard_weight, mask_value
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        if self.num_hard > distribution.num_classes:
            raise InputError(f'Expected `num_hard` <= {distribution.num_classes} classes, but got {self.num_hard}.')
        self.register_derived('log_counts', np.log(np.maximum(distribution.instance_counts, 1)))

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label = inputs.expert_logits, inputs.per_view(inputs.label)  # (E, V N, C), (V N,)
        mask = hard_categories(logits[0], label, self.num_hard)
        adjusted = logits + self.log_counts.to(logits)
        hard = torch.where(mask, adjusted, self.mask_value)
        terms = {}
        for name, weight, scores in (('expert', self.ce_weight, adjusted), ('hard', self.hard_weight, hard)):
            losses = weight * expert_cross_entropy(scores, label, class_factor=self.class_factor(scores))
            terms |= {f'loss_{name}{e}': loss for e, loss in enumerate(losses)}
        return terms | self.distillation(adjusted, hard, mask, inputs.label)

    def distillation(self, adjusted: Tensor, hard: Tensor, mask: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the terms by which the experts learn from each other.

        Args:
            adjusted: Logits plus log class counts, (E, V N, C).
            hard: The same with ``mask_value`` outside of the hard categories, (E, V N, C).
            mask: Hard categories, (V N, C).
            label: Class indices, (N,).
        """
        raise NotImplementedError(f'{type(self).__name__} must define distillation(adjusted, hard, mask, label).')

    def mean_divergence(self, logits: Tensor, label: Tensor, weight: Tensor | float = 1.0) -> Tensor:
        """Return the mean of :func:`mutual_divergence` over the rows of all ranks."""
        divergence = self.weighted(mutual_divergence(logits, weight), label)
        return divergence.sum() / divisor(len(divergence), divergence)

    def extra_repr(self) -> str:
        return (
            f'num_hard={self.num_hard}, ce_weight={self.ce_weight}, hard_weight={self.hard_weight}, '
            f'mask_value={self.mask_value}'
        )


@MODELS.register_module()
class NCLLoss(NestedExpertLoss):
    r"""Trains whole networks side by side: on all classes, on the hardest ones of each image, and on each other.

    .. math::
        \sum_e \big[ \mathrm{CE}(v_e, y) + \mathrm{CE}(h_e, y) \big] + D(v) + D(h), \qquad
        D(f) = \frac{\alpha}{E - 1} \sum_{i \ne j} \mathrm{KL}\big(p(f_j) \,\|\, p(f_i)\big),
        \qquad v_{e,c} = z_{e,c} + \log n_c

    h are the logits v of the hard categories, and ``mask_value`` elsewhere. The plain logits of the first network
    select the hard categories for all: the label and the other classes with the largest logits. The log counts balance
    the classes; the hard categories sharpen the decision between similar ones, often a rare and a frequent class.
    Predict with the mean of the plain logits. A class without training images counts as if it had one.

    The networks are experts that share nothing, ``dict(type='ltmm.MultiExpertResNetCIFAR', expert_stages=(0, 1, 2),
    separate_stem=True)``. :class:`~ltmm.models.losses.MomentumContrastLoss` in ``aux_losses`` is the contrastive part.

    References:
        [0] Li et al., Nested Collaborative Learning for Long-Tailed Visual Recognition, CVPR 2022, arXiv 2203.15359.
        [1] github.com/Bazinga699/NCL @f64fddb, ``NIL_NBOD``. This implementation reproduces [1] to 1e-6
            (tests/conformance, ``ncl`` and ``trajectory_ncl``).

    Args:
        distill_weight: alpha over all classes.
        hard_distill_weight: alpha over the hard categories.
        **kwargs: Arguments of :class:`NestedExpertLoss`.
    """

    def __init__(self, *, distill_weight: float = 0.6, hard_distill_weight: float = 0.6, **kwargs: Any) -> None:
        check(distill_weight=(distill_weight, '>= 0'), hard_distill_weight=(hard_distill_weight, '>= 0'))
        self.distill_weight, self.hard_distill_weight = distill_weight, hard_distill_weight
        super().__init__(**kwargs)

    def distillation(self, adjusted: Tensor, hard: Tensor, mask: Tensor, label: Tensor) -> dict[str, Tensor]:
        others = max(len(adjusted) - 1, 1)
        return dict(
            loss_distill=self.distill_weight / others * self.mean_divergence(adjusted, label),
            loss_distill_hard=self.hard_distill_weight / others * self.mean_divergence(hard, label),
        )

    def extra_repr(self) -> str:
        return (
            f'{super().extra_repr()}, distill_weight={self.distill_weight}, '
            f'hard_distill_weight={self.hard_distill_weight}'
        )
