"""Supervised contrast: the loss of anchors with several positives, and the references they are contrasted with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from torch import Tensor

from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.feature_queue import FeatureQueue
from ltmm.models.state.key_encoder import KeyEncoder
from ltmm.utils.checks import check

from ..base import check_soft_labels, divisor, gather_features
from ..objective import LossInputs, Objective
from .momentum_contrast_loss import contrast_logits
from .projection import check_features, projector

__all__ = ['Contrast', 'SupervisedContrast', 'contrast_with_queue', 'contrast_with_views', 'supervised_contrast']


def supervised_contrast(
    logits: Tensor, is_positive: Tensor, is_candidate: Tensor, log_weight: Tensor | None = None
) -> Tensor:
    r"""Compute the contrastive loss of each anchor, (N,).

    .. math:: -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{s_{ip}}}{\sum_{k \in A_i} w_{ik} e^{s_{ik}}}

    It is 0 for an anchor without positives.

    Args:
        logits: s, cosines divided by a temperature, (N, M).
        is_positive: P, some of the candidates, (N, M).
        is_candidate: A, (N, M).
        log_weight: :math:`\log w`, (N, M); all weights are 1 without.
    """
    weighted = logits if log_weight is None else logits + log_weight
    log_sum = weighted.masked_fill(~is_candidate, -torch.inf).logsumexp(1, keepdim=True)
    return (log_sum - logits).masked_fill(~is_positive, 0).sum(1) / is_positive.sum(1).clamp(min=1)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Anchors and the references they are contrasted with. No anchor is a reference of its own.

    Attributes:
        label: Class of each anchor, (N,).
        cosine: Of each anchor and reference, (N, M).
        is_candidate: Which references count, (N, M): not the anchor itself, nor the empty slots of a queue.
        is_own: Candidates that are another view of the same image, (N, M).
        same_class: Candidates of the same class, the own ones among them, (N, M).
        same_subclass: Likewise, (N, M). None without sub-classes.
    """

    label: Tensor
    cosine: Tensor
    is_candidate: Tensor
    is_own: Tensor
    same_class: Tensor
    same_subclass: Tensor | None = None


def contrast_with_views(features: Tensor, label: Tensor, subclass: Tensor | None = None) -> Contrast:
    """Contrast each view of each image with all other views in the batches of all ranks, as SimCLR does.

    Args:
        features: Unit vectors, (V N, D), view after view.
        label: Class indices, (N,).
        subclass: (N,).
    """
    image = torch.arange(len(label), device=label.device) + (get_rank() << 32)  # another number on each rank
    own_rows = torch.stack([image, label, *([] if subclass is None else [subclass])], dim=1)
    own_rows = own_rows.repeat(len(features) // max(len(label), 1), 1)  # (V N, 2 or 3)
    references, rows, position = gather_features(features, own_rows)
    is_candidate = position.unsqueeze(1) != torch.arange(len(rows), device=label.device)
    same = [(own.unsqueeze(1) == other) & is_candidate for own, other in zip(own_rows.T, rows.T)]
    return Contrast(own_rows[:, 1], features @ references.T, is_candidate, *same)


def contrast_with_queue(
    query: Tensor, key: Tensor, queue: FeatureQueue, label: Tensor, subclass: Tensor | None = None
) -> Contrast:
    """Contrast each image with its own key, reference 0, and the keys of earlier batches, as MoCo does.

    Args:
        query: Unit vectors, (N, D).
        key: Unit vectors, (N, D).
        queue: Earlier keys with labels, and sub-labels where there are sub-classes.
        label: Class indices, (N,).
        subclass: (N,).
    """

    def with_own(mask: Tensor) -> Tensor:
        return torch.cat([mask.new_ones(len(label), 1), mask.expand(len(label), -1)], dim=1)  # (N, 1 + K)

    filled = queue.filled
    return Contrast(
        label,
        contrast_logits(query, key, queue.features.to(query), filled, temperature=1.0),
        with_own(filled),
        with_own(torch.zeros_like(filled)),
        with_own(label.unsqueeze(1) == queue.labels),
        None if subclass is None else with_own((subclass.unsqueeze(1) == queue.sub_labels) & filled),
    )


class SupervisedContrast(NeedsWholeBatch, Objective):
    """Base class of contrastive losses with labels, on the views of a batch (SimCLR) or on keys in a queue (MoCo).

    A subclass writes :meth:`losses`. Use it to pre-train a backbone, in :class:`~ltmm.models.PretrainHead`, with the
    views of mmpretrain's ``MultiView`` and ``ltmm.MultiViewDataPreprocessor``, or in ``aux_losses`` beside a
    classification loss. The features are projected by two linear layers with a ReLU between them.

    Args:
        in_channels: Width of the features.
        feat_dim: D, width of the projected features.
        queue_size: K, keys of earlier images, by the momentum copy of :class:`~ltmm.models.MomentumClassifier`. None:
            contrast the views of the batch.
    """

    requires: Sequence[str] = ('features',)
    accepts_soft_labels = False
    with_subclasses = False

    def __init__(self, *, in_channels: int, feat_dim: int = 128, queue_size: int | None = None) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        check(queue_size=(queue_size, 'int >= 1 or None'))
        self.in_channels, self.projector = in_channels, projector(in_channels, feat_dim)
        self.queue: FeatureQueue | None = None
        if queue_size is not None:
            self.requires = (*self.requires, 'key_features')
            self.queue = FeatureQueue(queue_size, feat_dim, with_sub_labels=self.with_subclasses)
            self.key_projector = KeyEncoder(self.projector)

    def losses(self, contrast: Contrast) -> dict[str, Tensor]:
        """Return the terms of each anchor by name, each (N,)."""
        raise NotImplementedError(f'{type(self).__name__} must define losses(contrast).')

    def subclass_of(self, inputs: LossInputs) -> Tensor | None:
        """Return the sub-class of each image, (N,); None without sub-classes."""

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        label, subclass = inputs.label, self.subclass_of(inputs)
        features = F.normalize(self.projector(inputs.features), dim=1)
        if self.queue is None:
            contrast = contrast_with_views(features, label, subclass)
        else:
            with torch.no_grad():
                self.key_projector.update(self.projector)
                key = F.normalize(self.key_projector(inputs.key_features), dim=1)
            contrast = contrast_with_queue(features, key, self.queue, label, subclass)
        losses = {name: loss.sum() / divisor(len(loss), loss) for name, loss in self.losses(contrast).items()}
        if self.queue is not None:
            self.queue.update(key, label, subclass)
        return losses

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        num_views = 2 if self.queue is None else 1  # beside that of the key
        check_features(self, inputs, self.in_channels, num_views, or_more=self.queue is None)
