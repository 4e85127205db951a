"""Moving average of a model from its initial weights on."""

import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from ltmm.registry import MODELS

__all__ = ['AverageFromStart']


@MODELS.register_module()
class AverageFromStart(ExponentialMovingAverage):
    r"""Exponential moving average that starts from the initial weights, for MMEngine's ``EMAHook``.

    :math:`\bar\theta_t = (1 - m) \bar\theta_{t-1} + m \theta_t` with :math:`\bar\theta_0 = \theta_0`. MMEngine's own
    average begins with :math:`\theta_1`, the weights after the first step, and waits for the GPU in each update.
    Buffers, such as batch-norm statistics, are those of the model. The hook tests and saves the average; both are
    in the checkpoint, so a resume is exact.

    References:
        [0] github.com/Gank0078/ACR @9a8f421, ``models/ema.py`` (tests/conformance, ``trajectory_acr``).

    Args:
        model: The model.
        momentum: m, 1 - decay; 0.001 for the decay 0.999 of FixMatch, ACR, SimPro and ADELLO.
    """

    def __init__(self, model: nn.Module, momentum: float = 0.001) -> None:
        super().__init__(model, momentum)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average with the weights of the model."""
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), self.momentum)
        for mine, its in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
        self.steps += 1
