"""Gaussians of the features of each class, and how rare classes borrow from frequent ones."""

from typing import Any

import torch
from mmengine.dist import broadcast
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState
from .prototypes import class_statistics

__all__ = ['ClassGaussians', 'class_covariances', 'covariance_factors', 'head_weights', 'transfer_from_heads']

TRANSFER_WEIGHTS = ('count', 'count_dist')
DISPERSIONS = ('ones', 'identity')


@torch.no_grad()
def class_covariances(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the number, mean and (sample) covariance of the features of each class.

    A covariance is a sum over n features divided by n - 1, and 0 for a class with less than two.

    Args:
        features: (N, D).
        labels: Class indices, (N,).
        num_classes: C.

    Returns:
        Counts (C,), int64; means (C, D) and covariances (C, D, D), float64.
    """
    counts, means, _ = class_statistics(features, labels, num_classes)
    width = features.size(1)
    covariances = means.new_zeros(num_classes, width, width)
    for c, rows in enumerate(labels.argsort(stable=True).split(counts.tolist())):
        difference = features[rows].double() - means[c]  # (n_c, D)
        covariances[c] = difference.mT @ difference / max(len(rows) - 1, 1)
    return counts, means, covariances


def head_weights(
    means: Tensor, counts: Tensor, is_head: Tensor, num_heads: int, transfer_weight: str = 'count'
) -> Tensor:
    r"""Return by how much each rare class relies on each frequent one, (C, C).

    .. math:: w_{ki} = \frac{a_{ki}}{\sum_{j \in C_k} a_{kj}}, \qquad a_{ki} = n_i
        \quad \text{or} \quad n_i \lVert \mu_i - \mu_k \rVert^2

    over the frequent classes :math:`C_k` whose means are nearest to that of k. The row of a rare class has sum 1; that
    of a frequent class, and of a class without features, is 0. If all a are 0, the weights are those of the counts.

    Args:
        means: (C, D).
        counts: n, features of each class, (C,).
        is_head: Whether a class is frequent, (C,).
        num_heads: Size of :math:`C_k`, if there are so many frequent classes.
        transfer_weight: ``'count'`` or ``'count_dist'``: a without or with the distance, with which far classes count
            more.
    """
    check(transfer_weight=(transfer_weight, TRANSFER_WEIGHTS), num_heads=(num_heads, 'int >= 1'))
    has_features = counts > 0
    heads = (is_head & has_features).nonzero().flatten()  # (H,)
    weights = means.new_zeros(len(counts), len(counts))
    if not len(heads):
        return weights
    distance = torch.cdist(means, means[heads], compute_mode='donot_use_mm_for_euclid_dist').square()  # (C, H)
    nearest = distance.topk(min(num_heads, len(heads)), largest=False)  # (C, q)
    share = counts[heads].to(means)[nearest.indices]
    if transfer_weight == 'count_dist':
        by_distance = share * nearest.values
        share = torch.where(by_distance.sum(1, keepdim=True) > 0, by_distance, share)
    weights.scatter_(1, heads[nearest.indices], share / share.sum(1, keepdim=True))
    return weights * (~is_head & has_features).unsqueeze(1)


def transfer_from_heads(
    means: Tensor,
    covariances: Tensor,
    weights: Tensor,
    gamma: float,
    alpha: float = 0.0,
    dispersion: str = 'ones',
) -> tuple[Tensor, Tensor]:
    r"""Move the Gaussian of each rare class towards those of similar frequent classes.

    .. math::
        \mu_k' = \gamma \sum_i w_{ki} \mu_i + (1 - \gamma) \mu_k, \qquad
        \Sigma_k' = \gamma^2 \sum_i w_{ki}^2 \Sigma_i + (1 - \gamma)^2 \Sigma_k + \alpha J

    A class with a row of zeros keeps its own.

    Args:
        means: (C, D).
        covariances: (C, D, D).
        weights: w, see :func:`head_weights`, (C, C).
        gamma: Share of the frequent classes, in [0, 1].
        alpha: Dispersion.
        dispersion: J: ``'ones'``, a matrix of ones, which widens a class in the one direction (1, ..., 1); or
            ``'identity'``, which widens it in all.

    Returns:
        Means (C, D) and covariances (C, D, D).
    """
    check(gamma=(gamma, 'in [0, 1]'), alpha=(alpha, '>= 0'), dispersion=(dispersion, DISPERSIONS))
    width = means.size(1)
    extra = torch.ones(width, width) if dispersion == 'ones' else torch.eye(width)
    borrows = (weights != 0).any(1)
    new_means = gamma * weights @ means + (1 - gamma) * means
    borrowed = (weights.square() @ covariances.flatten(1)).view_as(covariances)
    new_covariances = gamma**2 * borrowed + (1 - gamma) ** 2 * covariances + alpha * extra.to(covariances)
    return (
        torch.where(borrows[:, None], new_means, means),
        torch.where(borrows[:, None, None], new_covariances, covariances),
    )


def covariance_factors(covariances: Tensor) -> Tensor:
    r"""Return F with :math:`F F^\top` the covariances, (C, D, D), also where they are singular.

    The covariance of n features has a rank below n, on which Cholesky's decomposition fails. F consists of the
    eigenvectors times the square roots of the eigenvalues; those below 0, by rounding, count as 0.

    Args:
        covariances: (C, D, D).
    """
    values, vectors = torch.linalg.eigh(covariances)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(-2)


class ClassGaussians(TrainingState):
    r"""A Gaussian of the features of each class, to draw features of rare classes as often as of frequent ones.

    It takes :math:`K (D^2 + D)` numbers of memory and of the checkpoint, 1.6 MB for 100 classes and 64 dimensions.

    Args:
        feat_dim: D.

    Attributes:
        classes: Class of each Gaussian, (K,), int64: classes without features have none. Empty before :meth:`fit`.
        means: (K, D), float32.
        factors: F with :math:`F F^\top` the covariances, (K, D, D), float32.
    """

    def __init__(self, feat_dim: int) -> None:
        check(feat_dim=(feat_dim, 'int >= 1'))
        super().__init__()
        self.register_buffer('classes', torch.zeros(0, dtype=torch.int64))
        self.register_buffer('means', torch.zeros(0, feat_dim))
        self.register_buffer('factors', torch.zeros(0, feat_dim, feat_dim))

    @property
    def needs_whole_batch(self) -> bool:
        return False

    @torch.no_grad()
    def fit(self, means: Tensor, covariances: Tensor, counts: Tensor) -> None:
        """Set the Gaussians to those of the main process, in evaluation mode too.

        Args:
            means: (C, D), of the same shape on all ranks.
            covariances: (C, D, D).
            counts: Features of each class, (C,), the same on all ranks; a class with 0 has no Gaussian.
        """
        classes = counts.nonzero().flatten()
        values = dict(classes=classes, means=means[classes], factors=covariance_factors(covariances[classes]))
        for name, value in values.items():
            setattr(self, name, value.to(self._buffers[name]).contiguous())
            broadcast(self._buffers[name])

    def sample(self, per_class: int) -> tuple[Tensor, Tensor]:
        """Draw the same number of features of each class, by the global generator.

        Args:
            per_class: P.

        Returns:
            Features (P K, D) and labels (P K,).
        """
        noise = torch.randn(per_class, *self.means.shape, dtype=self.means.dtype, device=self.means.device)
        features = self.means + (self.factors @ noise.unsqueeze(-1)).squeeze(-1)  # (P, K, D)
        return features.flatten(0, 1), self.classes.repeat(per_class)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(f'{prefix}{name}')
            if saved is not None:
                setattr(self, name, buffer.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'num_classes={len(self.classes)}, feat_dim={self.means.size(1)}'
