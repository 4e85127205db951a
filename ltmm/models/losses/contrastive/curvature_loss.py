"""Dynamic curvature regularization (DCR): equally curved class manifolds in feature space."""

import math

import torch
from torch import Tensor

from ltmm.models.state.feature_queue import FeatureQueue
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from ..base import check_soft_labels, gather_features, mean_over_ranks
from ..objective import LossInputs, Objective

__all__ = ['CurvatureLoss', 'curvature_imbalance', 'curvature_weight', 'gaussian_curvature']


def curvature_imbalance(curvature: Tensor, valid: Tensor) -> Tensor:
    r"""Compute :math:`\sum_c \log(G_c / \min_j G_j)` over the valid classes: 0 if all have the same curvature.

    Args:
        curvature: G, positive, (C,).
        valid: Which classes count, (C,).
    """
    log = curvature.masked_fill(~valid, 1).log()
    lowest = log.masked_fill(~valid, torch.inf).min()
    return (log - lowest).masked_fill(~valid, 0).sum()


def curvature_weight(epoch: int, tau: float) -> float:
    r"""Return :math:`\log_\tau e` in epoch e, counted from 1: 0 in the first, 1 in epoch tau."""
    return math.log(epoch) / math.log(tau)


def gaussian_curvature(points: Tensor, neighbors: Tensor, ridge: float = 1e-6) -> Tensor:
    r"""Compute :math:`|\det \Theta|` at each point, (..., P), of the surface that fits its neighbors best.

    The normal u is the direction in which the neighbors vary least, the tangent space is spanned by all others. In the
    tangent coordinates o of a neighbor relative to the point, its height along u is fitted by
    :math:`o^T \Theta o / 2` in least squares. Only the heights have a gradient.

    Args:
        points: (..., P, d).
        neighbors: Index of the k neighbors of each point, (..., P, k).
        ridge: Penalty of Theta, relative to the mean square of the fitted terms.
    """
    d, k = points.size(-1), neighbors.size(-1)
    index = neighbors.flatten(-2).unsqueeze(-1).expand(*neighbors.shape[:-2], -1, d)
    hood = points.gather(-2, index).view(*neighbors.shape, d)  # (..., P, k, d)
    offset = hood - points.unsqueeze(-2)
    fixed = hood.detach() - hood.detach().mean(-2, keepdim=True)
    axes = torch.linalg.eigh(fixed.mT @ fixed).eigenvectors  # (..., P, d, d), least variance first
    height = (offset @ axes[..., :1]).squeeze(-1)  # (..., P, k)
    tangent = offset.detach() @ axes[..., 1:]  # (..., P, k, m)
    row, column = torch.triu_indices(d - 1, d - 1, device=points.device)
    terms = tangent[..., row] * tangent[..., column] * (1 - 0.5 * (row == column).to(points))  # (..., P, k, m(m+1)/2)
    normal = terms.mT @ terms
    penalty = (ridge * normal.diagonal(dim1=-2, dim2=-1).mean(-1)).clamp(min=1e-12 * k)
    normal = normal + penalty[..., None, None] * torch.eye(len(row)).to(points)
    entries = torch.linalg.solve_ex(normal, terms.mT @ height.unsqueeze(-1)).result.squeeze(-1)  # (..., P, m(m+1)/2)
    theta = entries.new_zeros(*entries.shape[:-1], d - 1, d - 1)
    theta[..., row, column] = entries
    theta[..., column, row] = entries
    return torch.linalg.det(theta).abs()


def principal_coordinates(features: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Project features to their first principal axes, scaled to a mean square of 1; the axes have no gradient.

    Args:
        features: (M, D).
        mask: Rows that count, (M,).
        dim: d.
    """
    fixed, weight = features.detach(), mask.to(features) / mask.sum().clamp(min=1)
    mean = weight @ fixed
    centered = fixed - mean
    axes = torch.linalg.eigh(centered.mT @ (weight.unsqueeze(1) * centered)).eigenvectors[:, -dim:]  # (D, d)
    scale = ((centered @ axes).square().sum(1) @ weight).sqrt()
    return (features - mean) @ axes / scale.clamp(min=torch.finfo(scale.dtype).tiny)


def rows_by_class(label: Tensor, num_classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the first rows of each class, (C, size), and which of these slots are filled, (C, size).

    Args:
        label: Class indices, (M,); -1 for rows to leave out.
        num_classes: C.
        size: Rows of each class at most.
    """
    label = torch.where(label < 0, num_classes, label)
    label, row = label.sort(stable=True)
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=label.device)
    counts = counts.scatter_add(0, label, torch.ones_like(label))
    place = torch.arange(len(label), device=label.device) - (counts.cumsum(0) - counts)[label]  # in the class
    slot = torch.where((place < size) & (label < num_classes), label * size + place, num_classes * size)
    rows = torch.zeros(num_classes * size + 1, dtype=torch.int64, device=label.device).scatter(0, slot, row)
    filled = torch.arange(size, device=label.device) < counts[:-1].unsqueeze(1)
    return rows[:-1].view(num_classes, size), filled


def class_curvatures(
    features: Tensor, label: Tensor, order: Tensor, num_classes: int, k: int, dim: int, size: int
) -> tuple[Tensor, Tensor]:
    """Compute the mean Gaussian curvature of each class, (C,), and which classes have more than k features, (C,).

    Args:
        features: (M, D).
        label: Class indices, (M,); -1 for rows to leave out.
        order: Rows in the order in which they are taken, (M,).
        num_classes: C.
        k: Neighbors of the own class.
        dim: Dimension of the space in which the manifolds are surfaces.
        size: Features of each class at most.
    """
    rows, filled = rows_by_class(label[order], num_classes, size)
    rows = order[rows]
    points = principal_coordinates(features[rows.flatten()].double(), filled.flatten(), dim).view(*rows.shape, dim)
    distance = torch.cdist(points.detach(), points.detach())  # (C, size, size)
    itself = torch.eye(size, dtype=torch.bool, device=rows.device)
    distance = distance.masked_fill(itself | ~filled.unsqueeze(1), torch.inf)
    neighbors = distance.topk(k, largest=False).indices  # (C, size, k)
    num, valid = filled.sum(1), filled.sum(1) > k
    used = filled & valid.unsqueeze(1)
    curvature = gaussian_curvature(points, neighbors).masked_fill(~used, 0).sum(1)
    return curvature / num.clamp(min=1), valid


@MODELS.register_module()
class CurvatureLoss(UsesProgress, Objective):
    r"""Flattens the feature manifolds of strongly curved classes, frequent or rare, to the curvature of the flattest.

    .. math::
        L = L_\mathrm{main} + \log_\tau(e) \, \frac{L_\mathrm{curv}}{\mathrm{sg}(L_\mathrm{curv} / L_\mathrm{main})},
        \qquad L_\mathrm{curv} = \sum_c \log \frac{G_c}{\min_j G_j}

    in epoch e, counted from 1: the term has the value :math:`\log_\tau(e) L_\mathrm{main}` and the direction of the
    gradient of :math:`L_\mathrm{curv}`. It is an auxiliary loss: ``aux_losses=[dict(type='ltmm.CurvatureLoss', ...)]``.

    G is the mean of :func:`gaussian_curvature` over the newest features of a class in a queue, this batch first, which
    alone has a gradient. The features are projected to ``dim`` principal axes, in which the ``k`` neighbors have to
    determine dim (dim - 1) / 2 numbers. Classes with k features or fewer are left out; with less than two classes, or
    equally curved ones, the loss is 0. Soft labels are refused.

    **No training code was published**: [1] holds pictures of the algorithm, and the measures of
    :mod:`ltmm.evaluation.functional.manifolds` are another estimator. This follows [0] as far as it is explicit. The
    absolute value in G, ``queue_size``, ``per_class``, ``k`` and ``dim`` are ours, and no figure of [0] is reproduced.

    [0] Ma et al., Curvature-Balanced Feature Manifold Learning for Long-Tailed Classification, CVPR 2023,
        arXiv 2303.12307.
    [1] github.com/mayanbiao1234/DCR @580d2ac0, without training code.

    Args:
        in_channels: D, width of the features.
        queue_size: Features of the last iterations to keep, over all ranks. A few epochs cover rare classes.
        k: Number of neighbors.
        dim: See above; at least 2.
        per_class: Features of a class at most, more than k.
        tau: Epoch in which the term is as large as the main loss, above 1; 100 of 200 in [0]. Default: half of the
            training, at least 2.
        eps: Lower bound of G; the mean square of the projected features is 1.
    """

    requires = ('features', 'cls_score', 'loss')
    accepts_soft_labels = False

    def __init__(
        self,
        *,
        in_channels: int,
        queue_size: int = 32768,
        k: int = 10,
        dim: int = 3,
        per_class: int = 32,
        tau: float | None = None,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check(k=(k, 'int >= 1'), dim=(dim, 'int >= 2'), per_class=(per_class, 'int >= 1'), eps=(eps, '> 0'))
        if not dim * (dim - 1) // 2 <= k < min(queue_size, per_class) or dim > in_channels:
            raise InputError(
                'CurvatureLoss: expected dim <= in_channels and dim (dim - 1) / 2 <= k < queue_size and per_class, but '
                f'got {dim=}, {in_channels=}, {k=}, {queue_size=} and {per_class=}.'
            )
        if tau is not None and not 1 < tau < math.inf:
            raise InputError(f'Expected `tau` to be > 1, but got {tau!r}.')
        self.k, self.dim, self.per_class, self.tau, self.eps = k, dim, per_class, tau, eps
        self.queue = FeatureQueue(queue_size, in_channels)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        own_label = inputs.per_view(inputs.label)
        features, label, _ = gather_features(inputs.features, own_label)
        slots = torch.arange(len(self.queue.labels), device=label.device)
        slots = len(label) + (self.queue.cursor - 1 - slots) % len(slots)  # newest first
        order = torch.cat([torch.arange(len(label), device=label.device), slots])
        pool = torch.cat([features, self.queue.features.to(features)])
        labels = torch.cat([label, self.queue.labels])
        self.queue.update(inputs.features.detach(), own_label)
        weight = curvature_weight(self.epoch + 1, max(self.max_epochs / 2, 2) if self.tau is None else self.tau)
        if not weight:
            return dict(loss_curvature=0 * features.sum())
        settings = dict(k=self.k, dim=self.dim, size=self.per_class)
        curvature, valid = class_curvatures(pool, labels, order, inputs.cls_score.size(1), **settings)
        loss = curvature_imbalance(curvature.clamp(min=self.eps), valid).to(features)
        main = mean_over_ranks(inputs.loss.detach())
        return dict(loss_curvature=weight * loss * (main / loss.detach().clamp(min=1e-12)))

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)
        width = self.queue.features.size(1)
        if inputs.features.size(1) != width:
            raise InputError(
                f'CurvatureLoss: expected features (N, in_channels={width}), but got {tuple(inputs.features.shape)}.'
            )
        if inputs.weight is not None:
            raise InputTypeError('CurvatureLoss is for classification heads: proposals of background form no manifold.')

    def extra_repr(self) -> str:
        return f'k={self.k}, dim={self.dim}, per_class={self.per_class}, tau={self.tau}, eps={self.eps}'
