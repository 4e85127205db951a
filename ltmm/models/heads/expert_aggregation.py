"""Modules that combine the logits of several experts into one prediction."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.models.losses.base import at_least_float32
from ltmm.models.losses.expert.evidence import evidential_weights, log_evidential_weights
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['EvidentialAggregation', 'MeanAggregation', 'WeightedAggregation']


@MODELS.register_module()
class MeanAggregation(nn.Module):
    """Average the experts' logits."""

    def forward(self, expert_logits: Tensor) -> Tensor:
        """Combine logits (E, N, C) into (N, C)."""
        return expert_logits.mean(0)


@MODELS.register_module()
class WeightedAggregation(nn.Module):
    """Weighted mean of the experts' logits, to adapt to the class distribution of the test set.

    ``ltmm.ExpertAggregationLoop`` finds the weights from test images without labels.

    Args:
        weights: Weight of each expert, (E,); their sum is 1.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        check(weights=(weights, 'a list of numbers >= 0'))
        if not np.isclose(sum(weights), 1, atol=1e-3):
            raise InputError(f'Expected `weights` to have sum 1, but got {list(weights)}.')
        self.num_experts = len(weights)
        self.register_buffer('weights', torch.tensor(weights, dtype=torch.float64), persistent=False)

    def forward(self, expert_logits: Tensor) -> Tensor:
        """Combine logits (E, N, C) into (N, C)."""
        return torch.einsum('e,enc->nc', self.weights.to(expert_logits), expert_logits)

    def extra_repr(self) -> str:
        return f'weights={[round(w, 4) for w in self.weights.tolist()]}'


@MODELS.register_module()
class EvidentialAggregation(nn.Module):
    r"""Weight each expert's logits by the uncertainty of the experts before it, which is high on tail samples.

    .. math:: \sum_e z_e \, g_e, \qquad g_e = \frac{e^{w_e / \eta}}{\sum e^{w / \eta}}

    The weights w are those of :func:`~ltmm.models.losses.expert.evidential_weights`, without gradient. The weight that
    a further expert would have is the uncertainty of the prediction.

    References:
        [0] Li et al., Trustworthy Long-Tailed Classification, CVPR 2022, arXiv 2111.09030.
        [1] github.com/lblaoke/TLC @204f50b. Its denominator is a sum over the samples of the batch, so a prediction
            depends on the other images; ``normalize='batch'`` reproduces this (tests/conformance,
            ``expert_backbone`` and ``tlc``).

    Args:
        eta: Temperature; 0.2 for CIFAR-LT, 0.5 for ImageNet-LT in [1].
        normalize: Sum in the denominator: over the ``'experts'`` or the ``'batch'``.
    """

    def __init__(self, eta: float = 0.2, normalize: str = 'experts') -> None:
        super().__init__()
        check(eta=(eta, '> 0'), normalize=(normalize, ('batch', 'experts')))
        self.eta, self.normalize = eta, normalize

    def forward(self, expert_logits: Tensor) -> Tensor:
        """Combine logits (E, N, C) into (N, C)."""
        weights = evidential_weights(at_least_float32(expert_logits.detach()))[:-1]  # (E, N)
        gates = (weights / self.eta).softmax(0 if self.normalize == 'experts' else 1)
        return (expert_logits * gates.unsqueeze(-1)).sum(0)

    def uncertainty(self, expert_logits: Tensor) -> Tensor:
        """Return the uncertainty of the prediction of each image, (N,), in (0, 1); float32 would round it to 0."""
        return log_evidential_weights(at_least_float32(expert_logits))[-1].double().exp()

    def extra_repr(self) -> str:
        return f'eta={self.eta}, normalize={self.normalize!r}'
