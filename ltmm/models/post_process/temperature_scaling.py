"""Temperature scaling: calibrate the confidence of a classifier."""

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .base import PostProcess, linear_layer

__all__ = ['TemperatureScaling']


@MODELS.register_module()
class TemperatureScaling(PostProcess):
    r"""Divides all logits by one number, which changes the confidence but no prediction.

    .. math:: z'_c = z_c / T

    References:
        [0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Args:
        temperature: T; above 1 it lowers the confidence.
    """

    strength = 'temperature'
    grid = (0.5, 4, 36)
    objective = 'nll'

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        check(temperature=(temperature, '> 0'))
        self.temperature = temperature

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return cls_score / self.temperature

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = linear_layer(head)
        for parameter in layer.parameters() if layer else ():
            parameter.div_(self.temperature)
        return layer is not None
