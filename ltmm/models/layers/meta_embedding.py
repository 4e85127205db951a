"""The classifier of OLTR: features enhanced by a memory of class centroids, and scaled by how familiar they are."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.state.prototypes import class_statistics
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .normed_linear import CosineLayer

__all__ = ['MetaEmbedding', 'memory_feature', 'meta_embedding', 'reachability', 'squashed_cosine']


def memory_feature(features: Tensor, centroids: Tensor, hallucinator: nn.Module, selector: nn.Module) -> Tensor:
    """Recall a feature from the memory: a mixture of the centroids, gated per dimension, (N, D).

    Args:
        features: (N, D).
        centroids: (C, D).
        hallucinator: From (N, D) to the logits of the mixture, (N, C).
        selector: From (N, D) to the logits of the gates, (N, D).
    """
    recalled = hallucinator(features).softmax(dim=1) @ centroids  # (N, D)
    return selector(features).tanh() * recalled


def reachability(features: Tensor, centroids: Tensor) -> Tensor:
    """Return 10 over the distance to the nearest centroid, (N, 1): large for familiar features, small for unknown ones.

    Args:
        features: (N, D).
        centroids: (C, D).
    """
    with torch.no_grad():
        nearest = torch.cdist(features, centroids).argmin(dim=1)  # (N,)
    distance = (features - centroids[nearest]).norm(dim=1, keepdim=True)
    return 10 / distance.clamp(min=1e-6)


def meta_embedding(features: Tensor, centroids: Tensor, hallucinator: nn.Module, selector: nn.Module) -> Tensor:
    """Add the memory to the features and scale both by the reachability, (N, D); see :func:`memory_feature`."""
    enhanced = features + memory_feature(features, centroids, hallucinator, selector)
    return reachability(features, centroids) * enhanced


def squashed_cosine(x: Tensor, weight: Tensor) -> Tensor:
    """Compute the cosines with the class weights times ``|x| / (1 + |x|)``, (N, C).

    Args:
        x: (N, D).
        weight: (C, D).
    """
    return F.linear(x / (1 + x.norm(dim=1, keepdim=True)), F.normalize(weight, dim=1))


@MODELS.register_module()
class MetaEmbedding(CosineLayer, UsesTrainFeatures, nn.Module):
    r"""Classifier of OLTR: a memory of class centroids lends features of rare classes what frequent ones have learned.

    .. math::
        v = \frac{10}{\min_c \lVert f - M_c \rVert} (f + \tanh(W_s f + b_s) \odot M^\top \mathrm{softmax}(W_h f + b_h)),
        \quad z_c = s \, \frac{v^\top w_c}{(1 + \lVert v \rVert) \lVert w_c \rVert}

    The centroids M are the class means of the training features before the first epoch, 0 for classes without training
    images; :class:`~ltmm.models.losses.DiscCentroidsLoss` trains them, the classifier does not. The hallucinator
    :math:`W_h, b_h` starts as the linear classifier of the first stage, see ``rename`` of
    :class:`~ltmm.engine.LoadPartsHook`.

    [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
    [1] github.com/zhmiao/OpenLongTailRecognition-OLTR @f50e375, ``MetaEmbedding_Classifier``. Reproduces [1] to 1e-6
        (tests/conformance, ``oltr`` and ``trajectory_oltr``).

    Args:
        in_features: D.
        out_features: C.
        scale: s.

    Attributes:
        centroids: M, (C, D), a parameter.
        weight: w, (C, D).
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 16.0) -> None:
        super().__init__()
        check(scale=(scale, '> 0'))
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.hallucinator = nn.Linear(in_features, out_features)
        self.selector = nn.Linear(in_features, in_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.centroids = nn.Parameter(torch.zeros(out_features, in_features))
        bound = in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def needs_train_features(self, epoch: int) -> bool:
        """Return True before the first epoch; a resumed training has the centroids of its checkpoint."""
        return epoch == 0

    @torch.no_grad()
    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Set the centroids to the class means."""
        _, means, _ = class_statistics(outputs.features, outputs.label, self.out_features)
        self.centroids.copy_(means)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D), in float32 under AMP."""
        with torch.autocast(x.device.type, enabled=False):
            x, centroids = x.to(self.weight), self.centroids.detach()
            embedding = meta_embedding(x, centroids, self.hallucinator, self.selector)
            return self.scale * squashed_cosine(embedding, self.weight)

    def extra_repr(self) -> str:
        return f'in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}'
