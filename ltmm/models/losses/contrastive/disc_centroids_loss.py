"""The objective of OLTR's memory: features close to the centroid of their class and far from all others."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.models.layers.meta_embedding import MetaEmbedding
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from ..base import check_soft_labels, divisor, mean_over_ranks
from ..objective import LossInputs, Objective

__all__ = ['DiscCentroidsLoss', 'centroid_update', 'disc_centroids_loss']


def disc_centroids_loss(
    features: Tensor, label: Tensor, centroids: Tensor, margin: float, repel_weight: float
) -> Tensor:
    """Compute half the mean squared distance to the own centroid, plus a hinge on that to the other centroids.

    The first term has no gradient for the centroids, see :func:`centroid_update`. Means and hinge are over all ranks.

    Args:
        features: (N, D).
        label: Class indices, (N,).
        centroids: (C, D).
        margin: Of the squared distance to the other centroids, summed and divided by N C.
        repel_weight: Weight of the hinge.
    """
    num = divisor(len(features), features)
    attract = (features - centroids.detach()[label]).square().sum() / num / 2
    others = 1 - F.one_hot(label, len(centroids))  # (N, C)
    distance = (torch.cdist(features, centroids).square() * others).sum() / (num * len(centroids))
    repel = (margin - mean_over_ranks(distance)).clamp(min=0)
    return attract + repel_weight * repel


def centroid_update(features: Tensor, label: Tensor, centroids: Tensor) -> Tensor:
    r"""Return 0 with the gradient :math:`\frac{1}{N (1 + n_c)} \sum_{y_i = c} (M_c - f_i)` for centroid c.

    Args:
        features: (N, D).
        label: Class indices, (N,), of which :math:`n_c` over all ranks are c.
        centroids: M, (C, D).
    """
    counts = F.one_hot(label, len(centroids)).sum(dim=0)  # (C,)
    all_reduce(counts)
    distance = (features.detach() - centroids[label]).square().sum(dim=1)  # (N,)
    value = (distance / (1 + counts[label])).sum() / divisor(len(features), features) / 2
    return value - value.detach()


@MODELS.register_module()
class DiscCentroidsLoss(NeedsWholeBatch, Objective):
    r"""Pulls features and the centroids of :class:`~ltmm.models.layers.MetaEmbedding` together by class.

    .. math::
        \lambda \Big( \frac{1}{2N} \sum_i \lVert f_i - M_{y_i} \rVert^2 +
        0.01 \max\big(0, m - \frac{1}{NC} \sum_{i, c \ne y_i} \lVert f_i - M_c \rVert^2 \big) \Big)

    As in [1], the first term moves a centroid by :func:`centroid_update`, which :math:`\lambda` does not multiply.
    Give ``loss_weight``, not the ``weight`` of an auxiliary loss, which would multiply it too.

    [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
    [1] github.com/zhmiao/OpenLongTailRecognition-OLTR @f50e375. Reproduces [1] to 1e-6 (tests/conformance, ``oltr``
        and ``trajectory_oltr``).

    Args:
        loss_weight: :math:`\lambda`.
        margin: m.
        repel_weight: Weight of the second term.
    """

    requires = ('features', 'classifier')
    accepts_soft_labels = False

    def __init__(self, *, loss_weight: float = 0.01, margin: float = 10.0, repel_weight: float = 0.01) -> None:
        super().__init__()
        check(loss_weight=(loss_weight, '>= 0'), margin=(margin, '>= 0'), repel_weight=(repel_weight, '>= 0'))
        self.loss_weight, self.margin, self.repel_weight = loss_weight, margin, repel_weight

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        centroids = inputs.classifier.centroids
        features, label = inputs.features.to(centroids), inputs.per_view(inputs.label)
        loss = disc_centroids_loss(features, label, centroids, self.margin, self.repel_weight)
        return dict(loss_centroids=self.loss_weight * loss + centroid_update(features, label, centroids))

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        if not isinstance(inputs.classifier, MetaEmbedding):
            raise InputTypeError(
                "DiscCentroidsLoss needs classifier=dict(type='ltmm.MetaEmbedding'), but got "
                f'{type(inputs.classifier).__name__}.'
            )

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, margin={self.margin}, repel_weight={self.repel_weight}'
