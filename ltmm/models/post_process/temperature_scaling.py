"""Temperature scaling: make a classifier as sure as it is right."""

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS

from .base import PostProcess, linear_layer

__all__ = ['TemperatureScaling']


@MODELS.register_module()
class TemperatureScaling(PostProcess):
    r"""Divides all logits by one number: head and tail keep their order, every class its accuracy; confidence changes.

    .. math:: z'_c = z_c / T

    [0] Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Args:
        temperature: T, positive; above 1 the model becomes less sure.

    Raises:
        ValueError: a temperature that is not positive.
    """

    strength = 'temperature'
    grid = (0.5, 4, 36)
    objective = 'nll'

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < float('inf'):
            raise ValueError(f'Expected `temperature` to be positive, but got {temperature}.')
        self.temperature = temperature

    def forward(self, cls_score: Tensor, features: Tensor | None, head: nn.Module) -> Tensor:
        """Scaled logits."""
        return cls_score / self.temperature

    def fold(self, head: nn.Module) -> bool:
        """Scale weights and bias."""
        layer = linear_layer(head)
        if layer is None:
            return False
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.div_(self.temperature)
        return True
