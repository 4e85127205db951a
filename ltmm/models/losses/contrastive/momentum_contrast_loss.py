"""MoCo: each image is told from the images of earlier batches by its features in another view."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.layers.per_expert import PerExpert
from ltmm.models.state.feature_queue import FeatureQueue
from ltmm.models.state.key_encoder import KeyEncoder
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import check_soft_labels, divisor
from ..objective import LossInputs, Objective
from .projection import check_features, projector

__all__ = ['MomentumContrastLoss', 'contrast_logits']


def contrast_logits(query: Tensor, key: Tensor, queue: Tensor, filled: Tensor, temperature: float) -> Tensor:
    """Compute the similarity of each query to its own key, in column 0, and to those of the queue, (..., N, 1 + K).

    Args:
        query: Unit vectors, (..., N, D).
        key: Unit vectors, (..., N, D).
        queue: Unit vectors, (..., K, D).
        filled: Which slots of the queue count, (K,).
        temperature: T, the divisor.
    """
    positive = (query * key).sum(-1, keepdim=True)
    negative = (query @ queue.mT).masked_fill(~filled, -torch.inf)
    return torch.cat([positive, negative], dim=-1) / temperature


@MODELS.register_module()
class MomentumContrastLoss(Objective):
    r"""Momentum contrast (MoCo): learns features without labels, so that frequent classes do not shape them alone.

    .. math:: -\log \frac{e^{q \cdot k / T}}{e^{q \cdot k / T} + \sum_{k' \in \mathrm{queue}} e^{q \cdot k' / T}}

    q is the projected feature of an image, k that of another view by the momentum copy of the network, which
    :class:`~ltmm.models.MomentumClassifier` keeps; the queue holds the keys of the last K images of all ranks, and
    their labels where there are any. Several networks, as in NCL, have a projector and keys each, and the sum of their
    losses counts.

    Use it in ``aux_losses`` beside a classification loss, as NCL does, or to pre-train a backbone, in
    :class:`~ltmm.models.PretrainHead`. Empty slots of the queue do not count; [1] and [2] fill them with random
    vectors, and need them: they count all slots from the first batch on.

    References:
        [0] He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020, arXiv 1911.05722.
        [1] github.com/facebookresearch/moco @132aea9. This implementation reproduces [1] to 1e-6 (tests/conformance,
            ``moco`` and ``trajectory_moco``).
        [2] github.com/Bazinga699/NCL @f64fddb, reproduced too (``trajectory_ncl``).

    Args:
        in_channels: Width of the features of a network.
        num_experts: E, networks whose features are side by side.
        feat_dim: Width of the projected features.
        queue_size: K; 65,536 in [1], 1,024 in [2] for CIFAR-LT.
        temperature: T; 0.07 in MoCo v1, 0.2 in MoCo v2 and [2].
        mlp: Project by two linear layers with a ReLU between them, as MoCo v2 and [2]; one layer without.
        keys_follow: Let the projector of the keys follow that of the queries by the momentum of the classifier.
            Without, it never learns and keeps its own random weights, as in [2].
    """

    requires = ('features', 'key_features')
    needs_labels = False
    accepts_soft_labels = False

    def __init__(
        self,
        *,
        in_channels: int,
        num_experts: int = 1,
        feat_dim: int = 128,
        queue_size: int = 65536,
        temperature: float = 0.2,
        mlp: bool = True,
        keys_follow: bool = True,
    ) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'), num_experts=(num_experts, 'int >= 1'))
        check(temperature=(temperature, '> 0'))
        self.in_channels, self.temperature = in_channels, temperature
        self.queue = FeatureQueue(queue_size, num_experts * feat_dim)
        build = partial(projector if mlp else nn.Linear, in_channels, feat_dim)
        self.projector = PerExpert(build, num_experts)
        if keys_follow:
            self.key_projector = KeyEncoder(self.projector)
        else:
            self.key_projector = PerExpert(build, num_experts).requires_grad_(False)

    def project(self, features: Tensor, projector: nn.Module) -> Tensor:
        """Return unit vectors (E, N, D) of the features of E networks side by side."""
        return F.normalize(torch.stack(projector(features.split(self.in_channels, dim=1))), dim=-1)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        query = self.project(inputs.features, self.projector)
        with torch.no_grad():
            if isinstance(self.key_projector, KeyEncoder):
                self.key_projector.update(self.projector)
            key = self.project(inputs.key_features, self.key_projector)
        queue = self.queue.features.view(len(self.queue.features), len(query), -1).transpose(0, 1)  # (E, K, D)
        logits = contrast_logits(query, key, queue, self.queue.filled, self.temperature)
        losses = (logits.logsumexp(-1) - logits[..., 0]).sum(1) / divisor(logits.size(1), logits)  # (E,)
        self.queue.update(key.transpose(0, 1).flatten(1), inputs.label)
        return {f'loss_contrastive{e}': loss for e, loss in enumerate(losses)}

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        check_features(self, inputs, self.in_channels * len(self.projector.experts), num_views=1)

    def extra_repr(self) -> str:
        return f'temperature={self.temperature}'
