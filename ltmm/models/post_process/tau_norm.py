"""Tau-normalization: rescale the classifier weights by a power of their norms."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from .base import PostProcess, linear_layer

__all__ = ['TauNorm', 'tau_normalize']


def tau_normalize(weight: Tensor, tau: float) -> Tensor:
    r"""Compute :math:`w_c / \lVert w_c \rVert^\tau`, (C, D); a row of zeros stays.

    Args:
        weight: Classifier weights, (C, D).
        tau: Strength.
    """
    norm = weight.norm(dim=1, keepdim=True)  # (C, 1)
    return weight / torch.where(norm > 0, norm, 1.0) ** tau


@MODELS.register_module()
class TauNorm(PostProcess):
    r"""Divides the weight vector of each class by a power of its norm, which grows with the class frequency.

    .. math:: z_c = \frac{w_c^\top x}{\lVert w_c \rVert^\tau}

    Also known as multiplicative logit adjustment by the weight norms (Menon et al., ICLR 2021); see
    ``ltmm.LogitAdjustment`` for the additive one. The bias is dropped, as in [1]. Needs a head with one linear layer.

    References:
        [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv
            1910.09217.
        [1] github.com/facebookresearch/classifier-balancing @f162ade, tau_norm.py. Reproduced (tests/conformance,
            ``decoupling_classifiers``).

    Args:
        tau: Strength; 1 gives all weight vectors norm 1, 0 only drops the bias.
    """

    strength = 'tau'
    corrects_prior = True
    replaces_logits = True

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        check(tau=(tau, '>= 0'))
        self.tau = tau

    def check(self, head: nn.Module) -> None:
        if linear_layer(head) is None:
            raise InputTypeError(
                f'TauNorm needs a head that ends in one nn.Linear, but got {type(head).__name__}. The weights of a '
                'cosine classifier have norm 1 already; for learnable scales (LWS) and several experts use '
                'ltmm.LogitAdjustment.'
            )

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return F.linear(features, tau_normalize(linear_layer(head).weight, self.tau).to(features))

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = linear_layer(head)
        layer.weight.copy_(tau_normalize(layer.weight, self.tau))
        if layer.bias is not None:
            layer.bias.zero_()
        return True
