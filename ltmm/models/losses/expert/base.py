"""Base class of losses on the logits of several experts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.utils.errors import InputError

from ..base import UsesClassPrior, check_soft_labels, divisor, mean_over_ranks
from ..class_weights import ClassWeight, ClassWeights, sample_weights
from ..objective import LossInputs, Objective

__all__ = ['LOG_EPS', 'ExpertLoss', 'expert_cross_entropy', 'kl_divergence']

LOG_EPS = 1e-9  # SADE, BalPoE, MDCS and NCL add it before taking a logarithm


def expert_cross_entropy(
    expert_logits: Tensor, label: Tensor, class_weight: Tensor | None = None, class_factor: Tensor | None = None
) -> Tensor:
    """Compute the mean cross entropy of each expert over the rows of all ranks, (E,).

    Args:
        expert_logits: (E, N, C).
        label: Class indices, (N,), or soft labels, (N, C).
        class_weight: Weight of each class, (C,); the mean divides by the sum of the weights, and is 0 where they are.
        class_factor: Factor of the loss of each class, (C,), which the mean does not divide by.
    """
    num_experts, num_samples, _ = expert_logits.shape
    labels = torch.cat([label] * num_experts)
    losses = F.cross_entropy(expert_logits.flatten(0, 1), labels, weight=class_factor, reduction='none')
    losses = losses.view(num_experts, num_samples)
    if class_weight is None:
        return losses.sum(1) / divisor(num_samples, losses)
    weight = class_weight[label]  # (N,)
    return (losses * weight).sum(1) / mean_over_ranks(weight.sum()).clamp(min=torch.finfo(weight.dtype).tiny)


def kl_divergence(target: Tensor, logits: Tensor) -> Tensor:
    """Compute KL(softmax(target) || softmax(logits)) over the last dimension of two (..., C) tensors of logits."""
    log_target, log_prob = target.log_softmax(-1), logits.log_softmax(-1)
    return (log_target.exp() * (log_target - log_prob)).sum(-1)


class ExpertLoss(UsesClassPrior, Objective):
    """Base class of losses on the logits of several experts.

    A subclass writes :meth:`terms`, with :meth:`class_factor` in its cross entropies and :meth:`weighted` around its
    other losses, and derives its tensors in :meth:`on_class_distribution`.

    Attributes:
        num_experts: E, where the loss treats each expert differently.
        num_views: V, views of each image that the loss needs.
        uses_prior: Whether the loss depends on the class distribution.
        class_weighting: Function from a tensor to the weight of each class, (C,), in its dtype; None without weights.

    Args:
        class_weight: See :class:`~ltmm.models.losses.base.LogitLoss`; it multiplies all terms of an image.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data.
        num_classes: C, to check the counts against.
    """

    requires = ('expert_logits',)
    num_experts: int | None = None
    num_views = 1
    uses_prior = True
    accepts_soft_labels = False
    balances_classes = True

    def __init__(
        self,
        *,
        class_weight: ClassWeight | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.class_weighting = None if class_weight is None else ClassWeights(class_weight, type(self).__name__)
        self.init_class_distribution(class_counts, num_classes)

    @property
    def reweights(self) -> bool:
        return self.class_weighting is not None

    def class_factor(self, logits: Tensor) -> Tensor | None:
        """Return the values of ``class_weight`` for logits (..., C), (C,), or None."""
        return None if self.class_weighting is None else self.class_weighting(logits, logits.size(-1))

    def weighted(self, loss: Tensor, label: Tensor) -> Tensor:
        """Multiply the losses of images, (..., N), by the ``class_weight`` of their labels."""
        return loss if self.class_weighting is None else loss * sample_weights(label, self.class_weighting(loss))

    def _check(self, inputs: LossInputs) -> None:
        expert_logits, name = inputs.expert_logits, type(self).__name__
        if self.uses_prior:
            self.check_logits(expert_logits)
        check_soft_labels(self, inputs.label)
        if expert_logits.dim() != 3 or self.num_experts not in (None, len(expert_logits)):
            expected = self.num_experts or 'E'
            raise InputError(f'{name}: expected logits ({expected}, N, C), but got {tuple(expert_logits.shape)}.')
        if expert_logits.size(1) != self.num_views * len(inputs.label):
            raise InputError(
                f'{name} needs {self.num_views} view(s) of each image: expected {self.num_views * len(inputs.label)} '
                f"rows of logits, but got {expert_logits.size(1)}. dict(type='MultiView', num_views=[...]) in the "
                "pipeline with data_preprocessor=dict(type='ltmm.MultiViewDataPreprocessor') makes several views."
            )
