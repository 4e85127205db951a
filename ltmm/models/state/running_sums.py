"""Sums that grow with every batch, over all ranks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor

from .base import TrainingState

__all__ = ['RunningConfusion', 'RunningCounts', 'RunningGradients']


class RunningCounts(TrainingState):
    """How often each label occurred in training, over all ranks.

    Args:
        num_labels: K, including a background label.

    Attributes:
        counts: (K,), float64.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.register_buffer('counts', torch.zeros(num_labels, dtype=torch.float64))

    @torch.no_grad()
    def update(self, labels: Tensor) -> None:
        """Count a batch; does nothing in evaluation mode.

        Args:
            labels: Integers below K, (N,).
        """
        if self.training:
            batch = torch.zeros_like(self.counts)
            batch.index_add_(0, labels, torch.ones_like(labels, dtype=batch.dtype))  # unlike bincount, no sync on GPU
            all_reduce(batch)
            self.counts += batch


class RunningConfusion(TrainingState):
    """Mean scores of the objects of each class for all classes, over all ranks and the whole training.

    Args:
        num_classes: C.

    Attributes:
        scores: Summed scores of the objects of class l for class k, (C, C), float64.
        counts: Objects of each class, (C,), float64.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer('scores', torch.zeros(num_classes, num_classes, dtype=torch.float64))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.float64))

    @property
    def rates(self) -> Tensor:
        """Mean scores, (C, C); 0 for classes without objects so far."""
        return self.scores / self.counts.clamp(min=1).unsqueeze(1)

    @torch.no_grad()
    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add a batch; does nothing in evaluation mode.

        Args:
            scores: (N, C).
            labels: Class indices, (N,); C is background and left out.
        """
        if self.training:
            num_classes = len(self.counts)
            batch = self.scores.new_zeros(num_classes + 1, num_classes + 1)
            batch.index_add_(0, labels, F.pad(scores.to(batch), (0, 1), value=1.0))
            all_reduce(batch)
            self.scores += batch[:-1, :-1]
            self.counts += batch[:-1, -1]

    def extra_repr(self) -> str:
        return f'num_classes={len(self.counts)}'


class RunningGradients(TrainingState):
    """Sum of the absolute gradients of each class as a positive and as a negative, over all ranks.

    Args:
        num_classes: C.

    Attributes:
        positive: (C,), float64.
        negative: (C,), float64.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer('positive', torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer('negative', torch.zeros(num_classes, dtype=torch.float64))
        self._pending: Tensor | None = None  # sum of the updates within one_update()

    @torch.no_grad()
    def update(self, positive: Tensor, negative: Tensor) -> None:
        """Add the gradients of a batch; does nothing in evaluation mode.

        Args:
            positive: Summed over the positives of each class, (C,).
            negative: Summed over the negatives of each class, (C,).
        """
        if self.training:
            batch = torch.stack([positive, negative]).to(self.positive)  # (2, C)
            if self._pending is None:
                self._add(batch)
            else:
                self._pending += batch

    @contextmanager
    def one_update(self) -> Iterator[None]:
        """Collect the updates within this context and apply them together at its end."""
        self._pending = torch.zeros_like(torch.stack([self.positive, self.negative]))
        try:
            yield
            if self.training:
                self._add(self._pending)
        finally:
            self._pending = None

    def _add(self, batch: Tensor) -> None:
        all_reduce(batch)
        self.positive += batch[0]
        self.negative += batch[1]

    def extra_repr(self) -> str:
        return f'num_classes={len(self.positive)}'
