"""Sampling rates of the classes, learned by their gradient."""

import numpy as np
import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.class_distribution import ClassDistribution

from .base import TrainingState

__all__ = ['ClassRates', 'initial_rate_logits']


def initial_rate_logits(distribution: ClassDistribution, power: float) -> np.ndarray:
    """Return the logits of rates that fall with the class frequency, (C,); all 0 for ``power`` 0.

    An empty class gets the rate of the rarest class with a sample.
    """
    prior = np.maximum(distribution.prior, distribution.prior[distribution.prior > 0].min())
    rate = prior**-power
    rate /= rate.min() + rate.max()
    return np.log(rate / (1 - rate))


class ClassRates(TrainingState):
    """Sampling rate of each class and the state of the Adam that learns it, as persistent float64 buffers.

    Args:
        num_classes: C.
        lr: Learning rate of Adam, which stays constant.

    Attributes:
        logits: The rates are their sigmoid, (C,).
    """

    def __init__(self, num_classes: int, lr: float = 0.01) -> None:
        super().__init__()
        self.lr = lr
        for name in ('logits', 'mean', 'square'):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer('num_updates', torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, gradient: Tensor) -> None:
        """Take a step of Adam along the mean gradient of all ranks; does nothing in evaluation mode.

        Args:
            gradient: Of a loss by :attr:`logits`, (C,).
        """
        if not self.training:
            return
        gradient = gradient.to(self.logits, copy=True)
        all_reduce(gradient, op='mean')
        self.num_updates += 1
        self.mean.lerp_(gradient, 1 - 0.9)
        self.square.lerp_(gradient**2, 1 - 0.999)
        mean, square = self.mean / (1 - 0.9**self.num_updates), self.square / (1 - 0.999**self.num_updates)
        self.logits -= self.lr * mean / (square.sqrt() + 1e-8)

    def extra_repr(self) -> str:
        return f'num_classes={len(self.logits)}, lr={self.lr}'
