"""The super-class graph of SuperDisco."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.models.losses.contrastive.subclasses import kmeans
from ltmm.models.state.prototypes import class_statistics
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['GraphLevel', 'SuperClassGraph', 'edge_weights', 'joined_adjacency', 'link_weights', 'pass_messages']


def edge_weights(vertices: Tensor, layer: nn.Linear, scale: Tensor) -> Tensor:
    r"""Compute how strongly vertices are joined, :math:`\sigma(w^\top |h_k - h_m| / \gamma + b)`, (K, K).

    Args:
        vertices: h, (K, D).
        layer: w and b, from D to 1.
        scale: :math:`\gamma`, a scalar.
    """
    difference = (vertices.unsqueeze(1) - vertices.unsqueeze(0)).abs() / scale  # (K, K, D)
    return layer(difference).squeeze(-1).sigmoid()


def link_weights(features: Tensor, vertices: Tensor, scale: Tensor) -> Tensor:
    r"""Compute the share of each vertex in each image, softmax over k of :math:`-\|z - h_k\|^2 / 2 \gamma^2`, (N, K).

    Args:
        features: z, (N, D).
        vertices: h, (K, D).
        scale: :math:`\gamma`, a scalar.
    """
    return (-((torch.cdist(features, vertices) / scale) ** 2) / 2).softmax(dim=1)


def joined_adjacency(vertices: Tensor, links: Tensor, new: Tensor) -> Tensor:
    """Join new vertices to a graph, (..., K + M, K + M); rows sum to 1, so that many vertices do not weigh more.

    Args:
        vertices: Edges of the graph, (K, K).
        links: From the new vertices to those of the graph, (..., M, K).
        new: Edges among the new vertices, (..., M, M).
    """
    old = torch.cat([vertices.expand(*links.shape[:-2], -1, -1), links.transpose(-2, -1)], dim=-1)
    adjacency = torch.cat([old, torch.cat([links, new], dim=-1)], dim=-2)
    return adjacency / adjacency.sum(-1, keepdim=True)


def pass_messages(features: Tensor, adjacency: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    """Let every vertex add up its neighbors, ``relu(A H W)`` per layer, (..., K, D).

    Args:
        features: H of the vertices, (..., K, D).
        adjacency: A, (..., K, K).
        layers: W.
    """
    for layer in layers:
        features = (adjacency @ layer(features)).relu()
    return features


class GraphLevel(nn.Module):
    """Super-classes of one level, joined to one another and to images or prototypes.

    Args:
        in_channels: D.
        num_super_classes: K.
        num_layers: Rounds of messages.
    """

    def __init__(self, in_channels: int, num_super_classes: int, num_layers: int) -> None:
        super().__init__()
        self.vertices = nn.Parameter(torch.randn(num_super_classes, in_channels))
        self.edge = nn.Linear(in_channels, 1)
        self.edge_scale, self.link_scale = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
        self.layers = nn.ModuleList(nn.Linear(in_channels, in_channels, bias=False) for _ in range(num_layers))
        self.out = nn.Linear(in_channels, in_channels, bias=False)
        nn.init.zeros_(self.out.weight)

    def edges(self, vertices: Tensor) -> Tensor:
        """Return the edges among vertices (K, D), (K, K)."""
        return edge_weights(vertices, self.edge, self.edge_scale)

    def forward(self, features: Tensor) -> Tensor:
        """Return what the super-classes tell each image, (N, D); images of a batch do not see one another.

        Args:
            features: z, (N, D).
        """
        links = link_weights(features, self.vertices, self.link_scale).unsqueeze(1)  # (N, 1, K)
        adjacency = joined_adjacency(self.edges(self.vertices), links, links.new_ones(len(links), 1, 1))
        vertices = self.vertices.to(features).expand(len(features), -1, -1)
        joined = torch.cat([vertices, features.unsqueeze(1)], dim=1)  # (N, K + 1, D)
        return self.out(pass_messages(joined, adjacency, self.layers)[:, -1])

    def refine_jointly(self, prototypes: Tensor) -> Tensor:
        """Return what super-classes and other prototypes tell each prototype, (P, D).

        Args:
            prototypes: (P, D); needs memory for P x P x D numbers.
        """
        links = link_weights(prototypes, self.vertices, self.link_scale)
        adjacency = joined_adjacency(self.edges(self.vertices), links, self.edges(prototypes))
        joined = torch.cat([self.vertices.to(prototypes), prototypes])  # (K + P, D)
        return self.out(pass_messages(joined, adjacency, self.layers)[len(self.vertices) :])


@MODELS.register_module()
class SuperClassGraph(UsesTrainFeatures, BaseModule):
    r"""Adds to each feature what it shares with similar classes: rare classes borrow from frequent relatives.

    A graph of learned super-classes, level by level: an image becomes a vertex, linked to the super-classes
    near it, and takes their messages, see :class:`GraphLevel`. The result is added to the feature and enters the
    next level,

    .. math:: z \leftarrow z + W_o \, [\mathrm{relu}(A \, H \, W_t)]_{\text{image}}, \qquad W_o = 0 \text{ at first},

    so that a trained network keeps its predictions. Before the first epoch the super-classes are the k-means centers
    of the features of the training set. Put it behind a neck that pools, if the backbone gives maps. Alone, it is
    trained with the classifier; :class:`SuperDiscoClassifier` trains it on a class-balanced set.

    **Unverified against the authors**, who have published no code: a reconstruction from the paper's text and from
    ARML [1], whose construction it shares. The residual form, the rows of A that sum to 1 and the start are ours.

    References:
        [0] Du et al., SuperDisco: Super-Class Discovery Improves Visual Recognition for the Long-Tail, CVPR 2023,
            arXiv 2304.00101.
        [1] Yao et al., Automated Relational Meta-learning, ICLR 2020, arXiv 2001.00745.

    Args:
        in_channels: D, width of the features.
        num_super_classes: Super-classes of each level; [0] finds 16 on CIFAR-100.
        num_layers: Rounds of messages of each level.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        in_channels: int,
        num_super_classes: Sequence[int] = (16,),
        num_layers: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        check(num_layers=(num_layers, 'int >= 1'))
        if not num_super_classes or not all(isinstance(num, int) and num >= 1 for num in num_super_classes):
            raise InputError(f'Expected `num_super_classes` to be integers >= 1, but got {num_super_classes}.')
        check_extra('features', 'sklearn')
        super().__init__(init_cfg=init_cfg)
        self.levels = nn.ModuleList(GraphLevel(in_channels, num, num_layers) for num in num_super_classes)

    def needs_train_features(self, epoch: int) -> bool:
        return epoch == 0

    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Place the super-classes at the centers of the features; each level has its own number."""
        for level in self.levels:
            num, seen = len(level.vertices), len(outputs.features)
            if seen < num:
                raise InputError(f'SuperClassGraph: {num} super-classes need as many images, but there are {seen}.')
            cluster = kmeans(outputs.features, num, outputs.seed)
            centers = class_statistics(outputs.features, cluster, num)[1].to(outputs.features)  # 0 for an empty one
            scale = torch.cdist(outputs.features, centers).min(dim=1).values.square().mean().sqrt()
            with torch.no_grad():
                level.vertices.copy_(centers)
                for gamma in (level.edge_scale, level.link_scale):
                    gamma.copy_(scale.clamp_min(1e-6))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the refined features, (N, D), as a tuple.

        Args:
            feats: The last is (N, D).
        """
        x = feats[-1]
        if x.dim() != 2:
            raise InputError(
                f'SuperClassGraph got features {tuple(x.shape)}, not (N, D): put a GlobalAveragePooling first.'
            )
        for level in self.levels:
            x = x + level(x)
        return (x,)

    def refine_prototypes(self, prototypes: Tensor) -> Tensor:
        """Return prototypes of classes refined with one another, (P, D).

        Args:
            prototypes: (P, D).
        """
        for level in self.levels:
            prototypes = prototypes + level.refine_jointly(prototypes)
        return prototypes
