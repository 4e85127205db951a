"""The momentum copy of a network that encodes the keys of momentum contrast."""

import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

__all__ = ['KeyEncoder']


class KeyEncoder(ExponentialMovingAverage):
    """MMEngine's average of a network, with batch-norm statistics of its own, which its own batches move.

    The first update copies the parameters, so the network may be initialized or loaded after the copy is made; later
    ones make them ``m * k + (1 - m) * q``. An update does nothing in evaluation mode, and never waits for the GPU.

    Args:
        network: The network, q.
        momentum: m; MMEngine's argument of that name is 1 - m.
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        super().__init__(network, 1 - momentum)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average the parameters with those of the network."""
        if not self.training:
            return
        weight = self.momentum + (1 - self.momentum) * (self.steps == 0).double()
        for key, query in zip(self.module.parameters(), model.parameters(), strict=True):
            key.lerp_(query, weight.to(key))
        self.steps += 1
