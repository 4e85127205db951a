"""Cosine classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['CosineLayer', 'NormedLinear']


class CosineLayer:
    """Mixin of classifier layers whose logits are cosines times ``scale``."""

    scale: float


@MODELS.register_module()
class NormedLinear(CosineLayer, nn.Module):
    r"""Cosine classifier: frequent classes gain nothing from their longer weight vectors.

    .. math:: z_c = s \, \frac{w_c^\top x}{\lVert w_c \rVert \lVert x \rVert}

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``NormedLinear``; its weight is transposed.

    Args:
        in_features: D.
        out_features: C.
        scale: s; 1 leaves the scale to the loss.
        bias: Add a bias per class, as NCL does; it starts at 0.
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 1.0, bias: bool = False) -> None:
        super().__init__()
        check(scale=(scale, '> 0'))
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw unit vectors in random directions."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight.uniform_(-1, 1), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled cosines (N, C) of features (N, D)."""
        scores = self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
        return scores if self.bias is None else scores + self.bias

    def extra_repr(self) -> str:
        return (
            f'in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}, '
            f'bias={self.bias is not None}'
        )
