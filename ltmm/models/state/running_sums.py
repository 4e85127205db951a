"""State that a loss gathers while it trains, equal on all ranks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

__all__ = ['RunningCounts', 'RunningGradients']


class RunningState(nn.Module):
    """Base of the running sums: persistent buffers that keep their precision, whatever the model is cast to.

    Every rank has to call ``update`` equally often, with an empty batch if need be: the sums of all ranks are added.
    """

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Follow the model to another device, but not to another precision: half of it cannot count to 2049."""
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in exact.items():
            self._buffers[name] = value.to(self._buffers[name].device)
        return self

    def reset(self) -> None:
        """Start anew, from zero."""
        for value in self.buffers():
            value.zero_()


class RunningCounts(RunningState):
    """How often each label has come while training, over all ranks.

    Args:
        num_labels: K, a background label included.

    Attributes:
        counts: (K,), float64.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.register_buffer('counts', torch.zeros(num_labels, dtype=torch.float64))

    @torch.no_grad()
    def update(self, labels: Tensor) -> None:
        """Count a batch; nothing happens in evaluation mode.

        Args:
            labels: whole numbers below K, (N,); N may be 0.
        """
        if self.training:
            batch = torch.zeros_like(self.counts)
            batch.index_add_(0, labels, torch.ones_like(labels, dtype=batch.dtype))  # unlike bincount, no sync on GPU
            all_reduce(batch)
            self.counts += batch


class RunningGradients(RunningState):
    """Sum of the absolute gradients that each class has received as a positive and as a negative, over all ranks.

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
        self._waiting: Tensor | None = None  # sums of the calls within one_update()

    @torch.no_grad()
    def update(self, positive: Tensor, negative: Tensor) -> None:
        """Add the gradients of a batch; nothing happens in evaluation mode.

        Args:
            positive: of the positives of each class, (C,).
            negative: of the negatives of each class, (C,).
        """
        if self.training:
            batch = torch.stack([positive, negative]).to(self.positive)  # (2, C)
            if self._waiting is None:
                self._add(batch)
            else:
                self._waiting += batch

    @contextmanager
    def one_update(self) -> Iterator[None]:
        """Within it, updates wait; at its end they take effect as one, with one reduction over the ranks."""
        self._waiting = torch.zeros_like(torch.stack([self.positive, self.negative]))
        try:
            yield
            if self.training:
                self._add(self._waiting)
        finally:
            self._waiting = None

    def _add(self, batch: Tensor) -> None:
        all_reduce(batch)
        self.positive += batch[0]
        self.negative += batch[1]

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'num_classes={len(self.positive)}'
