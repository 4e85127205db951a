"""Tau-normalisation: shorten the long weight vectors of head classes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

from .base import PostProcess, linear_layer

__all__ = ['TauNorm', 'tau_normalize']


def tau_normalize(weight: Tensor, tau: float) -> Tensor:
    r""":math:`w_c / \lVert w_c \rVert^\tau`, (C, D).

    Args:
        weight: a row a class, (C, D); a row of zeros stays one.
        tau: strength.
    """
    norm = weight.norm(dim=1, keepdim=True)  # (C, 1)
    return weight / torch.where(norm > 0, norm, 1.0) ** tau


@MODELS.register_module()
class TauNorm(PostProcess):
    r"""Divides each class's weight vector by a power of its length, which grows with the frequency of the class.

    .. math:: z_c = \frac{w_c^\top x}{\lVert w_c \rVert^\tau}

    Also known as multiplicative logit adjustment by the lengths of the weight vectors (Menon et al., ICLR 2021); see
    ``ltmm.LogitAdjustment`` for the additive one. The bias is left out, as in [1]. It needs a head with one linear
    layer.

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, tau_norm.py. Equal to [1] on its own numbers
        (tests/conformance, ``decoupling_classifiers``).

    Args:
        tau: strength, at least 0; 1 makes all weight vectors equally long, 0 only leaves the bias out.

    Raises:
        ValueError: a negative ``tau``.
        TypeError: a head that has no linear layer of its own, or several.
    """

    strength = 'tau'
    needs_features = True

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        if not 0 <= tau < float('inf'):
            raise ValueError(f'Expected `tau` to be at least 0, but got {tau}.')
        self.tau = tau

    def check(self, head: nn.Module) -> None:
        """Refuse a head without one linear layer."""
        if linear_layer(head) is None:
            raise TypeError(
                f'TauNorm rescales the weights of a linear classifier layer, but {type(head).__name__} does not end '
                'in one nn.Linear. A cosine classifier has all its weight vectors equally long already; for '
                'learned scales (LWS) and for several experts use ltmm.LogitAdjustment.'
            )

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        """Logits of the rescaled weights."""
        return F.linear(features, tau_normalize(linear_layer(head).weight, self.tau).to(features))

    def fold(self, head: nn.Module) -> bool:
        """Rescale the weights, and set the bias to zero."""
        layer = linear_layer(head)
        with torch.no_grad():
            layer.weight.copy_(tau_normalize(layer.weight, self.tau))
            if layer.bias is not None:
                layer.bias.zero_()
        return True
