"""RCAL: Gaussians of contrastive features calibrate classifier and features under label noise and a long tail."""

import logging
from collections.abc import Sequence
from time import perf_counter

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, is_main_process
from mmengine.logging import print_log
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution, check_head_classes, head_class_mask
from ltmm.models.state.class_gaussians import (
    DISPERSIONS,
    TRANSFER_WEIGHTS,
    ClassGaussians,
    class_covariances,
    head_weights,
    transfer_from_heads,
)
from ltmm.models.state.sample_table import SampleTable
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError, MissingInputError

from ..base import divisor
from ..objective import LossInputs, Objective

__all__ = ['RCALLoss', 'find_inliers']


def find_inliers(features: Tensor, label: Tensor, num_neighbors: int, min_size: int) -> Tensor:
    """Find the features that are no outliers of their class, by scikit-learn's ``LocalOutlierFactor``, bool (N,).

    An outlier is in a place 1.5 times as sparse as the places of its nearest neighbors in the class are. Smaller
    classes than ``min_size``, whose density nobody can tell, keep everything.

    Args:
        features: (N, D).
        label: Class indices, (N,).
        num_neighbors: Neighbors that are looked at, at most half of the class: with all of them, an outlier is among
            the neighbors of each, and none stands out.
        min_size: Smallest class in which outliers are looked for.
    """
    from sklearn.neighbors import LocalOutlierFactor

    is_inlier = torch.ones(len(label), dtype=torch.bool)
    for rows in label.argsort(stable=True).split(torch.bincount(label).tolist()):
        if len(rows) >= min_size:
            factor = LocalOutlierFactor(n_neighbors=min(num_neighbors, len(rows) // 2))
            is_inlier[rows] = torch.from_numpy(factor.fit_predict(features[rows].numpy()) == 1)
    return is_inlier


@MODELS.register_module()
class RCALLoss(UsesClassDistribution, UsesTrainFeatures, Objective):
    r"""Trains the classifier on as many drawn features of rare as of frequent classes; keeps features free of labels.

    Before the first epoch, the features z of all training images, by a backbone that was pre-trained without labels,
    are kept. Wrong labels put strange images into a class; those whose z are outliers of it are left out
    (:func:`find_inliers`). The others give mean and covariance of the class, and a rare class borrows from the nearest
    frequent ones (:func:`~ltmm.models.state.class_gaussians.transfer_from_heads`). Then the loss is, beside the main
    one of the head,

    .. math:: \lambda\, \mathbb E_{c,\; f \sim N(\mu_c', \Sigma_c')} \big[ -\log \mathrm{softmax}(W f)_c \big]
        + \beta\, \frac1N \sum_i \lVert f_i - z_i \rVert^2

    with P features of each class in every step, drawn anew, which train the classifier W only, and with features
    :math:`f_i` of images that are not mixed: of the last view. Mixup of the main loss has to leave them
    alone, as ``ltmm.MixupWithOriginals`` does, with ``cls_views=1`` of the head.

    z is of the image under the transforms of the test, :math:`f_i` under those of the training. Gaussians, z and
    the choice of inliers are in the checkpoint; a resumed training computes none of them again, a new one that starts
    from it all.

    **Unverified against the authors**: they have published no code. The structure follows [0]; the choice of the
    frequent classes and all defaults are ours. So is ``transfer_weight='count'``, as ``'count_dist'``, an uncertain
    reading of [0], has far classes count more than near ones. No figure of [0] is reproduced.

    References:
        [0] Zhang et al., When Noisy Labels Meet Long Tail Dilemmas: A Representation Calibration Method, ICCV 2023,
            arXiv 2211.10955.

    Args:
        in_channels: D, width of the features.
        num_neighbors: Of the local outlier factor; at most half of the class is taken.
        min_size: Smallest class in which outliers are looked for, at least 2.
        head_classes: The frequent classes: ``'many'``, with more than 100 training images; a number k, the k most
            frequent; or a list of class indices.
        num_heads: q, frequent classes from which a rare one borrows, the nearest ones.
        gamma: Share of the frequent classes in the Gaussian of a rare one; with 0 and ``alpha=0`` it keeps its own.
        alpha: Dispersion that is added to the covariance of a rare class.
        dispersion: ``'ones'``, alpha times a matrix of ones, as in [0], or ``'identity'``, in all directions alike.
        transfer_weight: See :func:`~ltmm.models.state.class_gaussians.head_weights`.
        per_class: P.
        sample_weight: lambda.
        restriction_weight: beta.
        class_counts: Training images per class. Default: taken from the training data.
        num_classes: C, to check the counts against.

    Attributes:
        gaussians: The Gaussians.
        contrastive: z of each training image.
        selection: 1 for a training image that is no outlier of the class of its label, 0 for an outlier, -1 for a
            ``sample_idx`` that is not in the training set.
    """

    requires = ('features', 'sample_idx', 'classifier')

    def __init__(
        self,
        *,
        in_channels: int,
        num_neighbors: int = 20,
        min_size: int = 10,
        head_classes: str | int | Sequence[int] = 'many',
        num_heads: int = 3,
        gamma: float = 0.5,
        alpha: float = 0.0,
        dispersion: str = 'ones',
        transfer_weight: str = 'count',
        per_class: int = 1,
        sample_weight: float = 1.0,
        restriction_weight: float = 0.1,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'))
        check(num_neighbors=(num_neighbors, 'int >= 1'), min_size=(min_size, 'int >= 2'))
        check(num_heads=(num_heads, 'int >= 1'), gamma=(gamma, 'in [0, 1]'), alpha=(alpha, '>= 0'))
        check(dispersion=(dispersion, DISPERSIONS), transfer_weight=(transfer_weight, TRANSFER_WEIGHTS))
        check(per_class=(per_class, 'int >= 1'), sample_weight=(sample_weight, '>= 0'))
        check(restriction_weight=(restriction_weight, '>= 0'))
        check_head_classes(head_classes)
        check_extra('features', 'sklearn')
        self.num_neighbors, self.min_size = num_neighbors, min_size
        self.head_classes, self.num_heads, self.gamma = head_classes, num_heads, gamma
        self.alpha, self.dispersion, self.transfer_weight = alpha, dispersion, transfer_weight
        self.per_class, self.sample_weight, self.restriction_weight = per_class, sample_weight, restriction_weight
        self.gaussians = ClassGaussians(in_channels)
        self.contrastive = SampleTable(0, in_channels)
        self.selection = SampleTable(0, fill=-1, dtype=torch.int8)
        self.init_class_distribution(class_counts, num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.is_head = torch.from_numpy(head_class_mask(distribution, self.head_classes))  # (C,)

    # ------------------------------------------------------------------ before the first epoch

    def needs_train_features(self, epoch: int) -> bool:
        return epoch == 0 or not len(self.contrastive.values)  # loaded ones may be of other data

    @torch.no_grad()
    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Keep the features, drop outliers and compute the Gaussians."""
        start = perf_counter()
        features, label, sample_idx = outputs.features, outputs.label, outputs.sample_idx
        self._check_width(features)
        for table in (self.contrastive, self.selection):
            table.resize(0)
            table.resize(int(sample_idx.max()) + 1)
        if is_main_process():
            is_inlier = find_inliers(features, label, self.num_neighbors, self.min_size)
            self.selection.values[sample_idx] = is_inlier.to(self.selection.values)
        broadcast(self.selection.values)
        self.contrastive.values[sample_idx] = features.to(self.contrastive.values)
        is_inlier = self.selection.values[sample_idx].to(label.device) == 1
        self._fit_gaussians(features[is_inlier], label[is_inlier])
        message = f'{int(is_inlier.sum())} of {len(label)} images are no outliers, in {perf_counter() - start:.1f} s'
        print_log(f'RCALLoss: {message}', logger='current', level=logging.INFO)

    def _fit_gaussians(self, features: Tensor, label: Tensor) -> None:
        counts, means, covariances = class_covariances(features, label, len(self.get_class_distribution()))
        weights = head_weights(means, counts, self.is_head, self.num_heads, self.transfer_weight)
        means, covariances = transfer_from_heads(means, covariances, weights, self.gamma, self.alpha, self.dispersion)
        self.gaussians.fit(means, covariances, counts)

    # ------------------------------------------------------------------ loss

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        features, sample_label = self.gaussians.sample(self.per_class)
        sampled = F.cross_entropy(inputs.classifier(features.to(inputs.features)), sample_label)
        target = self.contrastive.read(inputs.sample_idx).to(inputs.features)  # (N, D)
        distance = (inputs.features[-len(target) :] - target).square().sum(1)  # (N,), of the last view
        restriction = distance.sum() / divisor(len(distance), distance)
        return dict(loss_sampled=self.sample_weight * sampled, loss_restriction=self.restriction_weight * restriction)

    def _check(self, inputs: LossInputs) -> None:
        self._check_width(inputs.features)
        if not len(self.contrastive.values):
            raise MissingInputError(
                "RCALLoss needs the features of the training set: add dict(type='ltmm.TrainFeaturesHook') to "
                "custom_hooks, as ltmm's default_runtime.py does, or call on_train_features(outputs)."
            )
        if inputs.label.dim() == 2 and inputs.num_views == 1:
            raise InputError(
                'RCALLoss needs images that are not mixed beside those that are: use '
                "augments=dict(type='ltmm.MixupWithOriginals') in train_cfg, and cls_views=1 in the head."
            )

    def _check_width(self, features: Tensor) -> None:
        expected, got = self.contrastive.values.size(1), features.size(1)
        if got != expected:
            raise InputError(f'RCALLoss: expected features (N, in_channels={expected}), but got width {got}.')

    def extra_repr(self) -> str:
        return (
            f'head_classes={self.head_classes!r}, num_heads={self.num_heads}, gamma={self.gamma}, alpha={self.alpha}, '
            f'dispersion={self.dispersion!r}, transfer_weight={self.transfer_weight!r}, per_class={self.per_class}, '
            f'sample_weight={self.sample_weight}, restriction_weight={self.restriction_weight}'
        )
