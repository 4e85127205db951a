"""Class prototypes: mean features, and on request their variances."""

import torch
from torch import Tensor

from ltmm.utils.checks import check

from .base import TrainingState, gather_rows

__all__ = ['Prototypes', 'class_statistics']


@torch.no_grad()
def class_statistics(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the number, mean and (population) variance of the features of each class.

    Args:
        features: (N, D).
        labels: Class indices, (N,).
        num_classes: C.

    Returns:
        Counts (C,), int64; means (C, D) and variances (C, D), float64 and 0 for classes without features.
    """
    counts = torch.zeros(num_classes, dtype=torch.int64, device=labels.device)
    counts.index_add_(0, labels, torch.ones_like(labels))
    means, variances = features.new_zeros(2, num_classes, features.size(1), dtype=torch.float64)
    divisor = counts.clamp(min=1).unsqueeze(1)  # (C, 1)
    batches = list(zip(features.split(2**14), labels.split(2**14)))  # float64 copies of a few rows at a time
    for feature, label in batches:
        means.index_add_(0, label, feature.double())
    means /= divisor
    for feature, label in batches:
        variances.index_add_(0, label, (feature.double() - means[label]).square())
    return counts, means, variances / divisor


class Prototypes(TrainingState):
    r"""The mean feature of each class (or cluster), over all ranks.

    :meth:`fit` computes it from given features, as those of the whole training set. :meth:`update` adds a batch:

    .. math:: \mu_c \leftarrow (1 - m) \mu_c + m \bar f_c

    for the classes in the batch, with :math:`\bar f_c` their mean in the batch and :math:`m` the ``momentum``, in the
    sense of MMEngine's EMA; or with the share of the batch in all features so far, so that :math:`\mu_c` is their
    mean. The first features of a class are taken as they are.

    Args:
        num_classes: C. For several prototypes per class, count the clusters and pass their indices as labels.
        feat_dim: D.
        momentum: m in (0, 1]; None for the mean of all features since the last :meth:`fit`.
        with_variances: Keep the variance of each feature dimension too, by the same average.

    Attributes:
        means: (C, D), float32; 0 for classes without features so far.
        variances: (C, D), float32; None without ``with_variances``.
        counts: Features so far, (C,), int64.
    """

    def __init__(
        self, num_classes: int, feat_dim: int, momentum: float | None = None, with_variances: bool = False
    ) -> None:
        check(num_classes=(num_classes, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        check(momentum=(momentum, 'in (0, 1] or None'))
        super().__init__()
        self.momentum = momentum
        self.register_buffer('means', torch.zeros(num_classes, feat_dim))
        self.register_buffer('variances', torch.zeros(num_classes, feat_dim) if with_variances else None)
        self.register_buffer('counts', torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> None:
        """Start anew from ``features``, in evaluation mode too.

        Args:
            features: (N, D), the same on every rank, as :class:`TrainFeatures` are.
            labels: Class indices, (N,).
        """
        for buffer in self.buffers():
            buffer.zero_()
        self._merge(features, labels)

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch, gathered over the ranks; does nothing in evaluation mode.

        Args:
            features: (N, D).
            labels: Class indices, (N,).
        """
        if self.training:
            self._merge(*gather_rows(features.to(self.means), labels))

    def _merge(self, features: Tensor, labels: Tensor) -> None:
        new_counts, new_means, new_variances = (
            value.to(self.means.device) for value in class_statistics(features, labels, len(self.means))
        )
        if self.momentum is None:
            weight = new_counts.double() / (self.counts + new_counts).clamp(min=1)  # (C,)
        else:
            weight = torch.where(self.counts > 0, self.momentum, 1.0) * (new_counts > 0)  # (C,)
        weight = weight.unsqueeze(1)
        difference = new_means - self.means
        if self.variances is not None:  # of the mixture of old and new features
            variances = (1 - weight) * self.variances + weight * new_variances
            self.variances = (variances + weight * (1 - weight) * difference.square()).float()
        self.means = (self.means + weight * difference).float()
        self.counts = self.counts + new_counts

    def extra_repr(self) -> str:
        return f'num_classes={len(self.means)}, feat_dim={self.means.size(1)}, momentum={self.momentum}'
