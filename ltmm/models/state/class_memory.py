"""The last features of each class, to draw some of tail classes into every batch."""

import torch
from mmengine.dist import all_reduce, broadcast
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState, gather_rows

__all__ = ['ClassMemory', 'MeanScores', 'draw_classes', 'from_first_rank', 'gumbel_like']


def from_first_rank(tensor: Tensor) -> Tensor:
    """Overwrite a tensor of random numbers by that of the first rank."""
    broadcast(tensor)
    return tensor


def gumbel_like(tensor: Tensor) -> Tensor:
    """Draw standard Gumbel numbers: with them added to log weights, the k largest are k draws without replacement."""
    return -torch.empty_like(tensor).exponential_().log()


def draw_classes(weight: Tensor, num_classes: int) -> Tensor:
    """Draw class indices without replacement, the same on all ranks; those of weight 0 last.

    Args:
        weight: Proportional to the probability of each class, (C,), the same on all ranks.
        num_classes: Number of classes to draw, at most C.
    """
    gumbel = from_first_rank(gumbel_like(weight.float()))
    return (weight.float().log() + gumbel).topk(min(num_classes, len(weight))).indices


class ClassMemory(TrainingState):
    """The last K features of each class, over all ranks.

    Args:
        num_classes: C.
        size: K.
        feat_dim: D.

    Attributes:
        features: (C, K, D), float32; 0 in empty slots.
        counts: Features of each class so far, (C,), int64. The oldest of K or more is in slot ``counts % K``.
    """

    def __init__(self, num_classes: int, size: int, feat_dim: int) -> None:
        check(num_classes=(num_classes, 'int >= 1'), size=(size, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        super().__init__()
        self.register_buffer('features', torch.zeros(num_classes, size, feat_dim))
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Replace the oldest features by those of a batch; does nothing in evaluation mode.

        Args:
            features: (N, D).
            labels: Class indices, (N,).
        """
        if not self.training:
            return
        features, labels = gather_rows(features.to(self.features), labels)
        labels, order = labels.sort(stable=True)
        size = self.features.size(1)
        num_new = torch.zeros_like(self.counts).index_add(0, labels, torch.ones_like(labels))  # (C,)
        first = (num_new.cumsum(0) - num_new)[labels]  # row of the first new feature of its class, (N,)
        place = torch.arange(len(labels), device=labels.device) - first  # among the new features of its class
        newest = place + (num_new[labels] - 1 - place) // size * size  # in the same slot
        slot = (self.counts[labels] + place) % size  # (N,)
        self.features[labels, slot] = features[order[first + newest]]
        self.counts += num_new

    @torch.no_grad()
    def draw(self, weight: Tensor, num_classes: int, num_features: int) -> tuple[Tensor, Tensor]:
        """Draw features of some classes without replacement, the same on all ranks: (M, D) and class indices (M,).

        Args:
            weight: Proportional to the probability of each class, (C,); that of classes without features becomes 0.
            num_classes: Number of classes.
            num_features: Features of each class, less where there are fewer.
        """
        size, filled = self.features.size(1), self.counts.clamp(max=self.features.size(1))  # (C,)
        classes = draw_classes(weight * (filled > 0), num_classes)  # (k,)
        key = from_first_rank(torch.rand(len(classes), size, device=classes.device))
        is_empty = torch.arange(size, device=classes.device) >= filled[classes].unsqueeze(1)  # (k, K)
        key, slots = key.masked_fill(is_empty, -1).topk(min(num_features, size), dim=1)  # (k, f)
        features, labels = self.features[classes.unsqueeze(1), slots], classes.unsqueeze(1).expand_as(slots)
        return features[key >= 0], labels[key >= 0]

    def extra_repr(self) -> str:
        num_classes, size, feat_dim = self.features.shape
        return f'num_classes={num_classes}, size={size}, feat_dim={feat_dim}'


class MeanScores(TrainingState):
    r"""The mean score that the objects of each class get for their class, over all ranks.

    .. math:: m_c \leftarrow \alpha^k m_c + (1 - \alpha^k) \frac{1}{k} \sum_{g=1}^k \bar s_g

    with the mean scores :math:`\bar s_g` of the k objects of class c in the batch.

    Args:
        num_classes: C.
        momentum: :math:`1 - \alpha`, in the sense of MMEngine's EMA.
        init: First value of all m.

    Attributes:
        values: m, (C,), float32, above 0.
    """

    def __init__(self, num_classes: int, momentum: float = 0.1, init: float = 0.01) -> None:
        check(num_classes=(num_classes, 'int >= 1'), momentum=(momentum, 'in (0, 1]'), init=(init, 'in (0, 1]'))
        super().__init__()
        self.momentum = momentum
        self.register_buffer('values', torch.full((num_classes,), init))

    @torch.no_grad()
    def update(self, scores: Tensor, labels: Tensor, object_idx: Tensor, share: Tensor | None = None) -> None:
        """Add a batch; does nothing in evaluation mode.

        Args:
            scores: Score of each row for its class, (N,).
            labels: Class indices, (N,).
            object_idx: Object of each row, any integer, (N,); those of other ranks are other objects.
            share: Part of each row on this rank, (N,): 1 / R for a row that all R ranks have. Default: 1.
        """
        if not self.training:
            return
        rows = (object_idx.unsqueeze(1) == object_idx).sum(1)  # of the same object, (N,)
        part = (torch.ones_like(rows) if share is None else share).double() / rows
        batch = scores.new_zeros(2, len(self.values), dtype=torch.float64)
        batch.index_add_(1, labels, torch.stack([scores.double() * part, part]))
        all_reduce(batch)
        total, num = batch[0], batch[1].round()  # (C,), (C,)
        decay = (1 - self.momentum) ** num
        values = (decay * self.values + (1 - decay) * total / num.clamp(min=1)).to(self.values)
        self.values = values.clamp(min=torch.finfo(values.dtype).tiny)  # a margin of LOCE is its logarithm

    def extra_repr(self) -> str:
        return f'num_classes={len(self.values)}, momentum={self.momentum}'
