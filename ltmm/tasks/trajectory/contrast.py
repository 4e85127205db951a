"""Contrast of trajectories with the prototypes of their clusters."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor, nn

from ltmm.models.losses.base import at_least_float32, divisor, gather_features
from ltmm.models.losses.contrastive.supervised_contrast import supervised_contrast
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.progress import UsesProgress
from ltmm.models.state.prototypes import Prototypes
from ltmm.models.state.sample_table import SampleTable
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import MissingInputError

from .clusters import cluster_tracks, density_temperatures
from .losses import prototype_contrast

__all__ = ['PrototypeContrast']


@MODELS.register_module()
class PrototypeContrast(NeedsWholeBatch, UsesProgress, nn.Module):
    r"""Pulls hard tracks to the prototype of their cluster and to each other, so that rare manoeuvres share features
    that common tracks do not drown.

    .. math:: f \frac{1}{G B} \sum_{g, i} \left[ - h_i \log \frac{e^{v_i \cdot c_{k_i} / T_{k_i}}}{\sum_j
        e^{v_i \cdot c_j / T_j}} - \frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{v_i \cdot v_p / T}}{\sum_{q \ne i}
        e^{v_i \cdot v_q / T}} \right]

    with G clusterings; h = 1 for hard tracks, else 0; P the other hard tracks of the cluster if i is hard, else none;
    prototypes c, unit means of the features that the momentum copy of the network gave in the epoch before, with
    temperatures by :func:`density_temperatures`. The tracks are clustered once, before the first epoch that needs it.
    Before the epoch ``warmup_epochs`` the terms are 0; ``ltmm.PrototypeContrastHook`` starts the epochs.

    [0] Wang et al., FEND: A Future Enhanced Distribution-Aware Contrastive Learning Framework for Long-tail Trajectory
        Prediction, CVPR 2023. arXiv:2303.16574
    [1] github.com/ynw2021/FEND @755baad, mgcvaeEWTA_hyper_re.py and train_nuscenes_fend.py. It clusters features of an
        auto-encoder of past and future; here the tracks themselves, turned to the same heading.

    Args:
        feat_dim: D, width of the projected features.
        num_clusters: K of each granularity.
        temperature: T.
        warmup_epochs: Epochs without contrast.
        weights: f, entry ``(epoch + 1 - warmup_epochs) // interval``, and from then on the last one.
        interval: See ``weights``; that of :class:`EWTALoss` makes both change together.
        min_hardness: Tracks above it are hard, in meters. 0 makes nearly all tracks hard, as in [1].
        as_published: As in [1], the prototypes of the first epoch come from the untrained network, and a cluster of one
            track has no distance: two of them among few make the loss NaN.

    Attributes:
        clusters: :class:`SampleTable` of the cluster of each track, by granularity, counted over all of them, (N, G).
        features: :class:`SampleTable` of the last momentum features, 0 before, (N, D).
    """

    def __init__(
        self,
        feat_dim: int,
        num_clusters: Sequence[int] = (20, 50, 100),
        temperature: float = 0.1,
        warmup_epochs: int = 15,
        weights: Sequence[float] = (1.0, 0.2),
        interval: int = 5,
        min_hardness: float = 0.0,
        as_published: bool = False,
    ) -> None:
        check(feat_dim=(feat_dim, 'int >= 1'), num_clusters=(num_clusters, 'a list of int >= 1'))
        check(
            temperature=(temperature, '> 0'),
            warmup_epochs=(warmup_epochs, 'int >= 1'),
            weights=(weights, 'a list of numbers >= 0'),
        )
        check(interval=(interval, 'int >= 1'), min_hardness=(min_hardness, '>= 0'))
        super().__init__()
        self.num_clusters, self.temperature, self.warmup_epochs = tuple(num_clusters), temperature, warmup_epochs
        self.weights, self.interval = tuple(weights), interval
        self.min_hardness, self.as_published = min_hardness, as_published
        self.clusters = SampleTable(0, len(num_clusters), fill=-1, dtype=torch.int64)
        self.features = SampleTable(0, feat_dim)
        self.prototypes = Prototypes(sum(num_clusters), feat_dim)
        self.temperatures = SampleTable(sum(num_clusters), fill=temperature)

    # ------------------------------------------------------------------ epochs

    def too_short(self, max_epochs: int) -> str | None:
        if self.warmup_epochs >= max_epochs:
            return f'never contrasts: warmup_epochs={self.warmup_epochs}, but the training has {max_epochs} epochs.'

    @property
    def collects(self) -> bool:
        """Whether this epoch needs the features of the momentum copy."""
        return self.epoch >= self.warmup_epochs - 1

    @property
    def copies(self) -> bool:
        """Whether the momentum copy follows the network before this epoch."""
        return self.epoch >= self.warmup_epochs - (not self.as_published)

    def needs_clusters(self, num_tracks: int) -> bool:
        """Return whether the tracks have to be clustered before this epoch."""
        return self.collects and len(self.clusters.values) != num_tracks

    def set_tracks(self, past: Tensor, future: Tensor, seed: int) -> None:
        """Cluster the tracks of the training set, equally on all ranks.

        Args:
            past: Positions relative to the last observed one, (N, T, 2).
            future: (N, H, 2).
            seed: Of k-means.
        """
        self.clusters.resize(len(past))
        self.features.resize(len(past))
        starts = torch.tensor((0, *self.num_clusters[:-1])).cumsum(0)
        clusters = cluster_tracks(past, future, self.num_clusters, seed) + starts
        self.clusters.values.copy_(clusters)
        broadcast(self.clusters.values)

    @torch.no_grad()
    def fit_prototypes(self) -> None:
        """Compute prototypes and temperatures from the features of the epoch before."""
        if self.epoch < self.warmup_epochs:
            return
        values, clusters = self.features.values, self.clusters.values  # (N, D), (N, G)
        is_seen = values.any(dim=1)  # a loader may drop its last batch
        values, clusters = values[is_seen], clusters[is_seen]
        self.prototypes.fit(values.repeat(len(self.num_clusters), 1), clusters.T.flatten())
        self.prototypes.means = F.normalize(self.prototypes.means, dim=1)
        start = 0
        for num, cluster in zip(self.num_clusters, clusters.T):
            distance = (values - self.prototypes.means[cluster]).norm(dim=1)
            own = slice(start, start := start + num)
            self.temperatures.values[own] = density_temperatures(
                distance, cluster - own.start, num, self.temperature, self.as_published
            )

    # ------------------------------------------------------------------ loss

    def weight(self) -> float:
        """Return f of the current epoch."""
        index = (self.epoch + 1 - self.warmup_epochs) // self.interval
        return self.weights[min(index, len(self.weights) - 1)]

    def forward(self, projected: Tensor, hardness: Tensor, sample_idx: Tensor) -> dict[str, Tensor]:
        """Compute both terms, means over the batches of all ranks.

        Args:
            projected: Features after the projector, (B, D).
            hardness: In meters, (B,).
            sample_idx: Indices of the tracks in the data set, (B,).
        """
        if self.epoch < self.warmup_epochs:
            zero = projected.new_zeros(())
            return dict(loss_prototype=zero, loss_instance=zero)
        if not len(self.clusters.values):
            raise MissingInputError(
                "PrototypeContrast needs clusters: add dict(type='ltmm.PrototypeContrastHook') to custom_hooks."
            )
        with torch.autocast(projected.device.type, enabled=False):
            features = F.normalize(at_least_float32(projected), dim=1)
            prototype, instance = self.terms(features, hardness > self.min_hardness, self.clusters.read(sample_idx))
        scale = self.weight() / len(self.num_clusters) / divisor(len(features), features)
        return dict(loss_prototype=scale * prototype.sum(), loss_instance=scale * instance.sum())

    def terms(self, features: Tensor, is_hard: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the prototype and the instance term of each track, summed over granularities, (B,) each.

        Args:
            features: Unit vectors, (B, D).
            is_hard: (B,).
            clusters: Of all granularities, (B, G).
        """
        is_empty = self.prototypes.counts == 0
        means, temperatures = self.prototypes.means.to(features), self.temperatures.values.to(features)
        others, rows, position = gather_features(features, torch.cat([clusters, is_hard.unsqueeze(1).long()], dim=1))
        logits = features @ others.T / self.temperature  # (B, M)
        is_other = position.unsqueeze(1) != torch.arange(len(rows), device=rows.device)
        both_hard = is_hard.unsqueeze(1) & rows[:, -1].bool() & is_other
        prototype, instance, start = 0, 0, 0
        for cluster, other, num in zip(clusters.T, rows.T, self.num_clusters):
            own = slice(start, start := start + num)
            target = torch.where(is_hard & ~is_empty[cluster], cluster - own.start, -1)
            prototype += prototype_contrast(features, means[own], temperatures[own], target, is_empty[own])
            instance += supervised_contrast(logits, (cluster.unsqueeze(1) == other) & both_hard, is_other)
        return prototype, instance

    def extra_repr(self) -> str:
        return (
            f'num_clusters={self.num_clusters}, temperature={self.temperature}, warmup_epochs={self.warmup_epochs}, '
            f'weights={self.weights}, min_hardness={self.min_hardness}, as_published={self.as_published}'
        )
