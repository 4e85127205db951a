"""What the losses of several experts share: where the prior comes from, checks, float32 under AMP."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.state.class_distribution import UsesClassDistribution

from ..base import at_least_float32

__all__ = ['LOG_EPS', 'ExpertLoss', 'expert_cross_entropy', 'kl_divergence']

LOG_EPS = 1e-9  # what SADE, BalPoE and MDCS add before they take a logarithm


def expert_cross_entropy(expert_logits: Tensor, label: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Mean cross entropy of each expert, (E,).

    Args:
        expert_logits: (E, N, C).
        label: class indices, (N,), or soft labels, (N, C).
        class_weight: factor of the samples of each class, (C,); the mean divides by the sum of the factors,
            and is 0 where all of them are.
    """
    num_experts, num_samples, _ = expert_logits.shape
    labels = torch.cat([label] * num_experts)
    losses = F.cross_entropy(expert_logits.flatten(0, 1), labels, reduction='none').view(num_experts, num_samples)
    if class_weight is None:
        return losses.mean(1)
    weight = class_weight[label]  # (N,)
    return (losses * weight).sum(1) / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def kl_divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax(target) || softmax(logits)) over the last dimension.

    Args:
        target: logits, (..., C).
        logits: (..., C).
    """
    log_target, log_prob = target.log_softmax(-1), logits.log_softmax(-1)
    return (log_target.exp() * (log_target - log_prob)).sum(-1)


class ExpertLoss(UsesClassDistribution, nn.Module):
    """Base of the losses for the logits of several experts.

    A subclass writes :meth:`terms`, and derives its tensors in :meth:`on_class_distribution`.

    Args:
        class_counts: training images per class, as a list or ``{class name: count}``; taken from the training data
            when left out.
        num_classes: C, where it is to be checked at build.
    """

    num_experts: int | None = None  # E, where the loss gives each expert a part of its own
    num_views = 1  # views of each image, view after view in the rows of the logits
    accepts_soft_labels = False
    fits = ('experts',)

    def __init__(
        self,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.init_class_distribution(class_counts, num_classes)

    def terms(self, expert_logits: Tensor, label: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
        """The terms of the loss by name, from float32 or float64 logits; 'loss' is a part of every name."""
        raise NotImplementedError(f'{type(self).__name__} must define terms(expert_logits, label).')

    def forward(self, expert_logits: Tensor, label: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
        """The terms, which add up to the loss.

        Args:
            expert_logits: (E, V N, C) for V views of N images.
            label: class indices, (N,), or, where the loss takes them, soft labels, (N, C).
            kwargs: what else :meth:`terms` takes.

        Raises:
            RuntimeError: no class distribution has arrived.
            ValueError: another number of experts, views or classes than the loss is for, or soft labels that are not
                supported.
        """
        self._check(expert_logits, label)
        expert_logits = at_least_float32(expert_logits)
        with torch.autocast(expert_logits.device.type, enabled=False):
            return self.terms(expert_logits, label, **kwargs)

    def _check(self, expert_logits: Tensor, label: Tensor) -> None:
        name, num_classes = type(self).__name__, self.get_class_distribution().num_classes
        if expert_logits.dim() != 3 or expert_logits.size(2) != num_classes:
            raise ValueError(
                f'{name}: expected logits of shape (E, N, {num_classes}), the number of classes in the training data, '
                f'but got {tuple(expert_logits.shape)}.'
            )
        if self.num_experts not in (None, expert_logits.size(0)):
            raise ValueError(f'{name}: expected {self.num_experts} experts, but got {expert_logits.size(0)}.')
        if label.dim() == 2 and not self.accepts_soft_labels:
            raise ValueError(
                f'{name} takes class indices (N,), but got soft labels {tuple(label.shape)}; '
                'leave Mixup, CutMix and label smoothing out of the data preprocessor.'
            )
        if expert_logits.size(1) != self.num_views * len(label):
            views = f'{self.num_views} view{"s" if self.num_views > 1 else ""} of each image'
            raise ValueError(
                f'{name} takes {views}: expected {self.num_views * len(label)} rows of logits for {len(label)} labels, '
                f"but got {expert_logits.size(1)}. The pipeline decides: dict(type='MultiView', num_views=[...], ...) "
                "with data_preprocessor=dict(type='ltmm.MultiViewDataPreprocessor') makes several, without it there is "
                'one.'
            )
