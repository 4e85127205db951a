"""A first-in-first-out queue of features, with or without labels, for contrastive learning."""

import torch
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState, gather_with_own

__all__ = ['FeatureQueue']


class FeatureQueue(TrainingState):
    """The last K features of all ranks, with their labels where there are any.

    Every rank holds the same queue: a batch is gathered in the order of the ranks. Batches may have any size. The
    queue is saved with the model, and an update never waits for the GPU on one rank.

    Args:
        size: K.
        feat_dim: D.
        with_sub_labels: Keep a second label of each feature too, such as its cluster.

    Attributes:
        features: (K, D), float32; 0 in empty slots.
        labels: (K,), int64; -1 in empty slots, and for features without a label.
        sub_labels: (K,), int64; -1 as in ``labels``. None without ``with_sub_labels``.
        num_filled: Number of features in the queue, as a tensor (reading it as a number would wait for the GPU).
        cursor: Slot of the next feature; the oldest one is there.

    Examples:
        >>> queue = FeatureQueue(size=4, feat_dim=2)
        >>> queue.update(torch.ones(3, 2), torch.tensor([5, 0, 5]))
        >>> queue.labels
        tensor([ 5,  0,  5, -1])
    """

    def __init__(self, size: int, feat_dim: int, with_sub_labels: bool = False) -> None:
        check(size=(size, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        super().__init__()
        self.register_buffer('features', torch.zeros(size, feat_dim))
        self.register_buffer('labels', torch.full((size,), -1))
        self.register_buffer('sub_labels', torch.full((size,), -1) if with_sub_labels else None)
        self.register_buffer('num_filled', torch.tensor(0))
        self.register_buffer('cursor', torch.tensor(0))

    @property
    def filled(self) -> Tensor:
        """Which slots hold a feature, (K,)."""
        return torch.arange(len(self.labels), device=self.labels.device) < self.num_filled

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor | None = None, sub_labels: Tensor | None = None) -> Tensor:
        """Replace the oldest features by those of a batch, and return the slots of the own rows, (N,).

        A row that does not fit has the slot -1, as all have in evaluation mode, in which nothing is stored.

        The buffers become new tensors, so that a loss computed from the old ones can still go backward.

        Args:
            features: (N, D).
            labels: (N,), at least 0; -1 for images without a label. None: no image has one.
            sub_labels: (N,), likewise; needed for a queue ``with_sub_labels``.
        """
        if not self.training:
            return self.labels.new_full((len(features),), -1)
        if labels is None:
            labels = self.labels.new_full((len(features),), -1)
        rows = dict(features=features.to(self.features), labels=labels)
        if self.sub_labels is not None:
            rows['sub_labels'] = sub_labels
        size = len(self.labels)
        gathered, own = gather_with_own(*rows.values())
        num_lost = max(len(gathered[0]) - size, 0)
        rows = {name: value[num_lost:] for name, value in zip(rows, gathered)}
        num_new = len(rows['labels'])
        slots = (self.cursor + torch.arange(num_new, device=self.cursor.device)) % size  # (N,)
        for name, value in rows.items():
            setattr(self, name, getattr(self, name).index_copy(0, slots, value))
        self.cursor = (self.cursor + num_new) % size
        self.num_filled = (self.num_filled + num_new).clamp(max=size)
        return torch.cat([slots.new_full((num_lost,), -1), slots])[own]

    def extra_repr(self) -> str:
        return f'size={len(self.features)}, feat_dim={self.features.size(1)}'
