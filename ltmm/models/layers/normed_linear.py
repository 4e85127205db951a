"""Cosine classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['NormedLinear']


@MODELS.register_module()
class NormedLinear(nn.Module):
    r"""Compares directions only, so that the longer weight vectors of head classes gain them nothing.

    .. math:: z_c = s \, \frac{w_c^\top x}{\lVert w_c \rVert \lVert x \rVert}

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``NormedLinear``, whose weight is the transpose of ours.

    Args:
        in_features: D.
        out_features: C.
        scale: s; 1 leaves the scale to the loss.
    """

    is_cosine = True

    def __init__(self, in_features: int, out_features: int, scale: float = 1.0) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f'Expected `scale` to be positive, but got {scale}.')
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Unit vectors in random directions."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight.uniform_(-1, 1), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Cosines (N, C), times the scale, of features (N, D)."""
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}'
