"""The momentum copy of a network that encodes the keys of momentum contrast."""

import copy
from typing import Any

import torch
from torch import nn

from ltmm.utils.checks import check

__all__ = ['KeyEncoder']


class KeyEncoder(nn.Module):
    """A copy of a network whose parameters follow it slowly, without gradients.

    The first update copies the parameters, so the network may be initialized or loaded after the copy is made; later
    ones make them ``m * k + (1 - m) * q``. Batch-norm statistics are its own, which its own batches move; MMEngine's
    ``ExponentialMovingAverage`` has those of the network. An update does nothing in evaluation mode, and never waits
    for the GPU.

    Args:
        network: The network, with parameters q.
        momentum: m. :class:`~ltmm.models.MomentumClassifier` gives its own to the projectors of its losses.

    Attributes:
        module: The copy, with parameters k.
        steps: Number of updates.
    """

    def __init__(self, network: nn.Module, momentum: float = 0.999) -> None:
        check(momentum=(momentum, 'in (0, 1)'))
        super().__init__()
        self.module, self.momentum = copy.deepcopy(network).requires_grad_(False), momentum
        self.register_buffer('steps', torch.tensor(0))

    def forward(self, *args: Any) -> Any:
        """Call the copy."""
        return self.module(*args)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Average the parameters with those of the network."""
        if not self.training:
            return
        weight = 1 - self.momentum * (self.steps > 0).double()
        for key, query in zip(self.module.parameters(), network.parameters(), strict=True):
            key.lerp_(query, weight.to(key))
        self.steps += 1

    def extra_repr(self) -> str:
        return f'momentum={self.momentum}'
