"""Long-tail mixed reconstruction (LMR): a head that rebuilds tail features from other samples, and mixes pairs."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.batch_augments.base import mix_rows
from ltmm.models.losses.base import at_least_float32, gather_features
from ltmm.models.losses.objective import LossInputs
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.feature_queue import FeatureQueue
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .long_tail_cls_head import LongTailClsHead

__all__ = ['LMRHead', 'reconstruct', 'reconstruction_shares', 'reconstruction_weights']

LOWERED = 1000.0  # by which the authors lower the score of a hidden key


def reconstruction_shares(counts: np.ndarray, scale: float, epsilon: float, low: float, high: float) -> np.ndarray:
    r"""Compute the share of the reconstruction in the features of each class, (C,): ``high`` for the rarest one.

    .. math::
        t_k = \frac{1}{\log(d n_k + \epsilon)}, \qquad
        c_k = h + (l - h) \frac{t_k - \min_j t_j}{\max_j t_j - \min_j t_j}

    Args:
        counts: n, training images per class, (C,). Classes without any count as the rarest that has some.
        scale: d.
        epsilon: :math:`d n_k + \epsilon` must be above 1.
        low: h, of the most frequent class, and of all classes if they are equally frequent.
        high: l.
    """
    rarest = counts[counts > 0].min(initial=counts.max())
    value = scale * counts.clip(min=rarest) + epsilon
    if value.min() <= 1:
        raise InputError(
            f'Expected scale * count + epsilon > 1 for all classes, but got {value.min():g} for the rarest one, of '
            f'{rarest} images. Set a larger `epsilon`.'
        )
    inverse = 1 / np.log(value)
    spread = np.ptp(inverse)
    return low + (high - low) * ((inverse - inverse.min()) / spread if spread else np.zeros_like(inverse))


def reconstruction_weights(query: Tensor, key: Tensor, hidden: Tensor, lowered: bool = False) -> Tensor:
    r"""Compute the weight of each key, (N, M): :math:`\mathrm{softmax}_m(q_n \cdot k_m / D)` over the keys in sight.

    Args:
        query: Normalized features, (N, D).
        key: Those of the other samples, (M, D).
        hidden: Which keys a query does not see, (N, M). A query that sees none gets finite weights without meaning.
        lowered: Lower the scores of hidden keys by 1000, in place of hiding them.
    """
    score = query @ key.T / query.size(1)
    if lowered:
        score = score - LOWERED * hidden
    else:
        score = score.masked_fill(hidden, torch.finfo(score.dtype).min)
    return score.softmax(1)


def reconstruct(features: Tensor, value: Tensor, weight: Tensor, share: Tensor) -> Tensor:
    """Replace a share of each feature by a weighted mean of others, (N, D): ``share * weight @ value + ...``.

    Args:
        features: (N, D).
        value: (M, D).
        weight: (N, M).
        share: Of the weighted mean, (N,).
    """
    return mix_rows(weight @ value, features, share)


@MODELS.register_module()
class LMRHead(NeedsWholeBatch, LongTailClsHead):
    r"""Rebuilds features of tail classes from similar samples of other classes, and mixes pairs of features.

    In training, the feature x of a sample with label y becomes

    .. math::
        r = c_y \sum_m w_m x_m + (1 - c_y) x, \qquad
        w_m = \mathrm{softmax}_m \big(\mathrm{LN}(x) \cdot \mathrm{LN}(x_m) / D\big)

    with c from :func:`reconstruction_shares`: near 0 for head classes, largest for the rarest. The sample itself and
    samples of few-shot classes (at most ``few_shot`` training images) are hidden from the sum; a sample that sees no
    other stays as it is. Then :math:`\lambda r_i + (1 - \lambda) r_j`, with a random partner j of the batch, goes into
    the classifier with the labels mixed alike; :math:`\lambda` is uniform, or 1 with probability ``1 - mix_prob``. In
    evaluation mode this is :class:`LongTailClsHead`.

    It is made for a second stage: features of a first one (``ltmm.LoadPartsHook``), ``ltmm.ClassAwareSampler``, all
    layers trained on. Dropout belongs before the head, in backbone or neck.

    With ``bank_size`` the :math:`x_m` are the last features of all ranks, without gradients, in place of the batch.
    The authors' code hides with it the oldest features in place of the samples themselves, and hides by lowering the
    scores, so that a sample sees everything where all is hidden: ``authors_mask``. It also takes the layer norm of the
    network: ``norm_affine`` with ``head.norm = backbone.norm``.

    References:
        [0] Perrett et al., Use Your Head: Improving Long-Tail Video Recognition, CVPR 2023, arXiv 2304.01143.
        [1] github.com/tobyperrett/lmr-release @a85ab2a. Reproduces both of its forms to 1e-9 (tests/conformance,
            ``lmr`` and ``trajectory_lmr``).

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        scale: d, 0.25 for SSv2-LT and 0.15 for EPIC-KITCHENS in [1].
        epsilon: Of the logarithm. Default: ``scale * max(5, images of the rarest class)``, as in [1].
        max_share: l, share of the reconstruction for the rarest class; 0.6 and 1 in [1]. 0 turns it off.
        min_share: h, for the most frequent class; 0.001 and 0.01 in [1].
        few_shot: omega, most training images of a class that is hidden from the others.
        mix_prob: Probability that a feature is mixed; 0.5 and 1 in [1].
        bank_size: Number of features to reconstruct from, of this batch and the former ones; 8 batches in [1].
            0: this batch, over all ranks, with gradients.
        norm_affine: Whether the layer norm has learnable weights.
        norm_eps: Of the layer norm; 1e-6 in the network of [1].
        authors_mask: Hide what the code of [1] hides.
        **kwargs: See :class:`LongTailClsHead`. The loss has to take soft labels; accuracies of them are not logged.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        scale: float = 0.25,
        epsilon: float | None = None,
        max_share: float = 0.6,
        min_share: float = 0.0,
        few_shot: int = 20,
        mix_prob: float = 0.5,
        bank_size: int = 0,
        norm_affine: bool = False,
        norm_eps: float = 1e-5,
        authors_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        check(
            scale=(scale, '> 0'),
            epsilon=(epsilon, '>= 0 or None'),
            max_share=(max_share, 'in [0, 1]'),
            min_share=(min_share, 'in [0, 1]'),
            few_shot=(few_shot, '>= 0'),
            mix_prob=(mix_prob, 'in [0, 1]'),
            bank_size=(bank_size, 'int >= 0'),
            norm_eps=(norm_eps, '> 0'),
        )
        if min_share > max_share:
            raise InputError(f'Expected min_share <= max_share, but got {min_share} and {max_share}.')
        if kwargs.get('cal_acc') or kwargs.get('cls_views'):
            raise InputError('LMRHead mixes the labels of one view: leave cal_acc and cls_views out.')
        # read by on_class_distribution, which the base calls
        self.scale, self.epsilon, self.max_share, self.min_share = scale, epsilon, max_share, min_share
        self.few_shot = few_shot
        super().__init__(num_classes, in_channels, **kwargs)
        self.mix_prob, self.authors_mask = mix_prob, authors_mask
        self.norm = nn.LayerNorm(in_channels, eps=norm_eps, elementwise_affine=norm_affine)
        self.bank = FeatureQueue(bank_size, in_channels) if bank_size else None

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Derive the share of the reconstruction of each class, and which classes are hidden."""
        counts, epsilon = distribution.image_counts, self.epsilon
        if epsilon is None:
            epsilon = self.scale * max(5, counts[counts > 0].min(initial=counts.max()))
        shares = reconstruction_shares(counts, self.scale, epsilon, self.min_share, self.max_share)
        self.register_derived('share', shares)  # (C,)
        self.register_derived('is_few', counts <= self.few_shot)  # (C,)

    def reconstruct(self, features: Tensor, label: Tensor) -> Tensor:
        """Reconstruct features, (N, D), in float32 or float64; in training mode the bank takes them first.

        Args:
            features: (N, D).
            label: (N,).
        """
        self.get_class_distribution()
        with torch.autocast(features.device.type, enabled=False):
            features = at_least_float32(features)
            value, hidden = self._keys(features, label)
            weight = reconstruction_weights(self.norm(features), self.norm(value), hidden, self.authors_mask)
            share = self.share.to(features)[label]
            if not self.authors_mask:
                share = share * ~hidden.all(1)
            return reconstruct(features, value, weight, share)

    def draw(self, num_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw the partner of each row, and the own share of the row in the mixture, (N,) and (N,)."""
        partner = torch.randint(max(num_rows, 1), (num_rows,), device=device)
        share, gate = torch.rand(2, num_rows, device=device)
        return partner, torch.where(gate < self.mix_prob, share, 1.0)

    def mix(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Mix pairs of rows; return features, (N, D), and soft labels, (N, C)."""
        partner, share = self.draw(len(features), features.device)
        score = nn.functional.one_hot(label, self.num_classes).to(features)
        return mix_rows(features, features[partner], share), mix_rows(score, score[partner], share)

    def loss_inputs(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> LossInputs:
        if not self.training:
            return super().loss_inputs(feats, data_samples, **kwargs)
        label, features = self.labels_of(data_samples), self.checked_features(feats)
        if label.dim() == 2:
            raise InputError('LMRHead expects one class per image, but got soft labels. Leave Mixup and CutMix out.')
        if len(label) != len(features):
            raise InputError(f'LMRHead expects one view, but got {len(features)} features of {len(label)} images.')
        features, score = self.mix(self.reconstruct(features, label), label)
        return replace(super().loss_inputs((features,), data_samples, **kwargs), label=score)

    def _keys(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to reconstruct from, (M, D), and what of it each row does not see, (N, M)."""
        if self.bank is None:
            value, labels, own = gather_features(features, label)
            empty = torch.zeros_like(labels, dtype=torch.bool)
        else:
            own = self.bank.update(features, label)
            value, labels, empty = self.bank.features.to(features), self.bank.labels, ~self.bank.filled
            if self.authors_mask:
                rows = torch.arange(len(label), device=label.device)
                own = (self.bank.cursor - self.bank.num_filled + rows) % len(labels)  # the oldest ones
        few = (self.is_few > 0)[labels.clamp(min=0)]
        slots = torch.arange(len(labels), device=labels.device)
        return value, (own[:, None] == slots) | few | empty
