"""Linear classifier with a learnable scale per class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['ScaledLinear', 'scaled_linear']


def scaled_linear(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor) -> Tensor:
    r"""Compute :math:`s \odot (W x + b)`, (N, C).

    Args:
        x: Features, (N, D).
        weight: W, (C, D).
        bias: b, (C,), or None.
        scale: s, (C,).
    """
    return scale * F.linear(x, weight, bias)


@MODELS.register_module()
class ScaledLinear(nn.Linear):
    r"""Linear classifier with a learnable scale per class, for learnable weight scaling (LWS).

    .. math:: z_c = s_c (w_c^\top x + b_c)

    The scales start at 1. The second stage of LWS learns nothing else: freeze ``head.fc.weight`` and ``head.fc.bias``
    with :class:`ltmm.engine.FreezeHook`. MiSLAS also learns these, with a smaller learning rate.

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, TauNormClassifier.py, which scales the bias too (the
        paper does not). This implementation reproduces [1] (tests/conformance, ``decoupling_classifiers`` and
        ``trajectory_decoupling``).

    Args:
        in_features: D.
        out_features: C.
        bias: Add b.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale = nn.Parameter(torch.ones(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D)."""
        return scaled_linear(x, self.weight, self.bias, self.scale)
