"""The class prior of unlabeled data, estimated while training."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState

__all__ = ['PriorEstimate']


class PriorEstimate(TrainingState):
    r"""Running estimate of a class prior from (soft) counts of pseudo-labels, over all ranks.

    :meth:`add` collects counts, :meth:`step` moves the estimate towards their shares and starts new counts,
    :math:`\hat\pi \leftarrow m \hat\pi + (1 - m) \frac{n}{\sum_c n_c + o}`. Steps without counts leave it as it is.

    Args:
        num_classes: C. 0 where :meth:`set_num_classes` or a checkpoint brings it.
        momentum: m.
        offset: o; with 0 the estimate keeps the sum 1.

    Attributes:
        prior: The estimate, (C,), float64; uniform at the start.
        counts: Counts since the last step, (C,), float64.
        num_steps: Number of steps that had counts, int64.

    Examples:
        >>> estimate = PriorEstimate(2, momentum=0.9)
        >>> estimate.update(torch.tensor([3.0, 1.0]))
        >>> estimate.prior
        tensor([0.5250, 0.4750], dtype=torch.float64)
    """

    def __init__(self, num_classes: int, momentum: float, offset: float = 0.0) -> None:
        check(num_classes=(num_classes, 'int >= 0'), momentum=(momentum, 'in [0, 1]'), offset=(offset, '>= 0'))
        super().__init__()
        self.momentum, self.offset = momentum, offset
        self.register_buffer('prior', torch.zeros(0, dtype=torch.float64))
        self.register_buffer('counts', torch.zeros(0, dtype=torch.float64))
        self.register_buffer('num_steps', torch.tensor(0))
        self.set_num_classes(num_classes)

    def set_num_classes(self, num_classes: int) -> None:
        """Start from a uniform prior of so many classes, unless it has as many already."""
        if num_classes != len(self.prior):
            self.prior = self.prior.new_full((num_classes,), 1 / num_classes)
            self.counts = torch.zeros_like(self.prior)
            self.num_steps.zero_()

    @torch.no_grad()
    def start_from(self, prior: Tensor) -> None:
        """Replace the uniform prior, (C,), at the start; does nothing after the first step, as after a resume."""
        self.prior.copy_(torch.where(self.num_steps > 0, self.prior, prior.to(self.prior)))

    @torch.no_grad()
    def add(self, counts: Tensor) -> None:
        """Collect counts of this rank, (C,); does nothing in evaluation mode."""
        if self.training:
            counts = counts.to(self.counts, copy=True)
            all_reduce(counts)
            self.counts += counts

    @torch.no_grad()
    def step(self) -> None:
        """Move the estimate towards the shares of the collected counts; does nothing in evaluation mode."""
        if not self.training:
            return
        total = self.counts.sum()
        share = self.counts / (total + self.offset).clamp(min=torch.finfo(total.dtype).tiny)
        moved = self.momentum * self.prior + (1 - self.momentum) * share
        self.prior.copy_(torch.where(total > 0, moved, self.prior))
        self.num_steps += total > 0
        self.counts.zero_()

    def update(self, counts: Tensor) -> None:
        """Collect counts, (C,), and step."""
        self.add(counts)
        self.step()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if f'{prefix}prior' in state_dict and not len(self.prior):
            self.set_num_classes(len(state_dict[f'{prefix}prior']))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'{len(self.prior)}, momentum={self.momentum}, offset={self.offset}'
