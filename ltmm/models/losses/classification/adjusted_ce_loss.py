"""Cross entropy of logits with a divisor, an offset and a margin per class: the formula of five papers."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution

from ..base import ClassPriorLoss

__all__ = ['AdjustedCrossEntropyLoss', 'adjusted_cross_entropy', 'adjusted_logits']


def adjusted_logits(
    cls_score: Tensor,
    label: Tensor | None = None,
    *,
    divisor: Tensor | None = None,
    offset: Tensor | None = None,
    margin: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    r"""Compute logits :math:`s \, (z_c / \Delta_c + \iota_c - m_c [c = y])`, (N, C).

    Args:
        cls_score: Logits z, (N, C).
        label: Class indices y, (N,); needed with ``margin``.
        divisor: Delta, (C,).
        offset: iota, (C,); minus infinity removes a class from the softmax.
        margin: m, (C,).
        scale: s.
    """
    logits = cls_score if divisor is None else cls_score / divisor
    if offset is not None:
        logits = logits + offset
    if margin is not None:
        logits = logits.scatter_add(1, label.unsqueeze(1), -margin[label].unsqueeze(1))
    return logits if scale == 1 else scale * logits


def adjusted_cross_entropy(
    cls_score: Tensor,
    label: Tensor,
    *,
    divisor: Tensor | None = None,
    offset: Tensor | None = None,
    margin: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Cross entropy of :func:`adjusted_logits`, one value per sample, (N,).

    The loss of soft labels is the sum of the losses of the classes, weighted by the labels.

    Args:
        cls_score: See :func:`adjusted_logits`.
        label: Class indices, (N,), or soft labels, (N, C).
        divisor: See :func:`adjusted_logits`.
        offset: See :func:`adjusted_logits`.
        margin: See :func:`adjusted_logits`.
        scale: See :func:`adjusted_logits`.
    """
    if label.dim() == 2:
        logits = adjusted_logits(cls_score, divisor=divisor, offset=offset, scale=scale)
        return _soft_cross_entropy(logits, label, None if margin is None else scale * margin)
    logits = adjusted_logits(cls_score, label, divisor=divisor, offset=offset, margin=margin, scale=scale)
    return F.cross_entropy(logits, label, reduction='none')


def _soft_cross_entropy(logits: Tensor, label: Tensor, margin: Tensor | None) -> Tensor:
    """Cross entropy with soft labels, (N,). Classes with a logit of minus infinity are ignored.

    Args:
        logits: (N, C).
        label: (N, C).
        margin: Subtracted from the logit of a class in the loss of that class, (C,).
    """
    if margin is None:
        losses = -logits.log_softmax(1)  # (N, C)
    else:
        losses = F.softplus(_logsumexp_of_others(logits) - logits + margin)
    return (label * losses.masked_fill(logits == -torch.inf, 0)).sum(1)


def _logsumexp_of_others(logits: Tensor) -> Tensor:
    """For each class the log-sum-exp of all other classes, (N, C), without cancellation.

    Args:
        logits: (N, C).
    """
    highest, index = logits.max(1, keepdim=True)  # (N, 1)
    without_highest = logits.scatter(1, index, -torch.inf)
    others_of_highest = without_highest.logsumexp(1, keepdim=True)  # (N, 1)
    rest = (others_of_highest - highest).exp() - (without_highest - highest).exp()  # (N, C), without the class itself
    return (highest + rest.log1p()).scatter(1, index, others_of_highest)


class AdjustedCrossEntropyLoss(ClassPriorLoss):
    r"""Base class of cross entropies of logits with a divisor, an offset and a margin per class, and a scale.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}\big(s \, (z / \Delta + \iota - m_y \, \mathrm{onehot}(y))\big)_y

    A subclass defines them in :meth:`adjustment`. Soft labels (Mixup, label smoothing) of classes with an offset of
    minus infinity are ignored.
    """

    accepts_soft_labels = True
    balances_classes = True
    scale = 1.0

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """Any of ``divisor``, ``offset`` and ``margin``, (C,), see :func:`adjusted_logits`."""
        raise NotImplementedError(f'{type(self).__name__} must define adjustment(distribution).')

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the adjustment."""
        adjustment = self.adjustment(distribution)
        for name, value in adjustment.items():
            self.register_derived(name, value)
        self._adjustment = tuple(adjustment)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See :func:`adjusted_cross_entropy`."""
        adjustment = {name: getattr(self, name).to(cls_score) for name in self._adjustment}
        return adjusted_cross_entropy(cls_score, label, scale=self.scale, **adjustment)
