"""How the logits of several experts become one prediction."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['EvidentialAggregation', 'MeanAggregation', 'WeightedAggregation', 'evidential_weights']


@MODELS.register_module()
class MeanAggregation(nn.Module):
    """The mean of the experts' logits."""

    def forward(self, expert_logits: Tensor) -> Tensor:
        """(E, N, C) to (N, C)."""
        return expert_logits.mean(0)


@MODELS.register_module()
class WeightedAggregation(nn.Module):
    """The experts' logits, weighted: more weight for the tail's expert where the test set is tail-heavy.

    ``ltmm.ExpertAggregationLoop`` finds the weights from test images without labels.

    Args:
        weights: of the experts, (E,); at least 0, sum 1.

    Raises:
        ValueError: negative weights, or another sum.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        if min(weights, default=-1) < 0 or not np.isclose(sum(weights), 1, atol=1e-3):
            raise InputError(f'Expected `weights` of at least 0 with sum 1, but got {list(weights)}.')
        self.num_experts = len(weights)
        self.register_buffer('weights', torch.tensor(weights, dtype=torch.float64), persistent=False)

    def forward(self, expert_logits: Tensor) -> Tensor:
        """(E, N, C) to (N, C)."""
        return torch.einsum('e,enc->nc', self.weights.to(expert_logits), expert_logits)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'weights={[round(w, 4) for w in self.weights.tolist()]}'


def evidential_weights(expert_logits: Tensor) -> Tensor:
    r"""How uncertain the experts before each one are about a sample, (E + 1, N): 1 for the first.

    With evidence :math:`e^z` of each class, expert e has beliefs :math:`b_c = e^{z_c} / S`, uncertainty
    :math:`u = C / S`, :math:`S = \sum_c (e^{z_c} + 1)`; it multiplies the weight of those after it by
    :math:`u / (1 - K)`, where K is the conflict of its beliefs with those of the expert before it.

    Args:
        expert_logits: (E, N, C).
    """
    log_classes = expert_logits.new_tensor(math.log(expert_logits.size(-1)))
    log_strength = torch.logaddexp(expert_logits.logsumexp(-1), log_classes)  # (E, N)
    belief = (expert_logits - log_strength.unsqueeze(-1)).exp()  # (E, N, C)
    uncertainty = (log_classes - log_strength).exp()
    total = belief.sum(-1)  # (E, N)
    conflict = total[:-1] * total[1:] - (belief[:-1] * belief[1:]).sum(-1)  # (E - 1, N)
    agreement = (1 - conflict).clamp(min=torch.finfo(conflict.dtype).eps)
    ratio = torch.cat([uncertainty[:1], uncertainty[1:] / agreement])
    return torch.cat([torch.ones_like(ratio[:1]), ratio.cumprod(0)])


@MODELS.register_module()
class EvidentialAggregation(nn.Module):
    r"""Lets the later experts speak on a sample as long as those before are uncertain about it, as tail samples are.

    .. math:: \sum_e z_e \, g_e, \qquad g_e = \frac{e^{w_e / \eta}}{\sum e^{w / \eta}}

    with the weights w of :func:`evidential_weights`. They are kept out of the gradient.

    [0] Li et al., Trustworthy Long-Tailed Classification, CVPR 2022, arXiv 2111.09030.
    [1] github.com/lblaoke/TLC @204f50b. There the sum of the denominator runs over the samples of the batch, so that a
        prediction depends on the images beside it; ``normalize='batch'`` does the same, and equals [1] on its own
        numbers (tests/conformance, ``expert_backbone``).

    Args:
        eta: 0.2 for CIFAR-LT, 0.5 for ImageNet-LT in [1]; positive.
        normalize: ``'experts'``, the denominator is the sum over the experts, or ``'batch'``.

    Raises:
        ValueError: ``eta`` is not positive, or another ``normalize``.
    """

    def __init__(self, eta: float = 0.2, normalize: str = 'experts') -> None:
        super().__init__()
        if not 0 < eta < float('inf'):
            raise InputError(f'Expected `eta` to be positive, but got {eta}.')
        if normalize not in ('batch', 'experts'):
            raise InputError(f"Expected `normalize` to be 'batch' or 'experts', but got {normalize!r}.")
        self.eta, self.normalize = eta, normalize

    def forward(self, expert_logits: Tensor) -> Tensor:
        """(E, N, C) to (N, C)."""
        weights = evidential_weights(expert_logits.detach())[:-1]  # (E, N)
        gates = (weights / self.eta).softmax(0 if self.normalize == 'experts' else 1)
        return (expert_logits * gates.unsqueeze(-1)).sum(0)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'eta={self.eta}, normalize={self.normalize!r}'
