"""The selector of TABASCO: two measures of how well a label fits, and a mixture per class."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .base import CleanSelector, Mixture, fit_mixture, min_max

__all__ = [
    'BiDimensionalSelector',
    'Separation',
    'adaptive_centroids',
    'class_means',
    'separate',
    'weighted_jensen_shannon',
]

EPS = 1e-10  # in the logarithms of the divergence, as in the authors' code


def class_means(values: Tensor, label: Tensor, num_classes: int, batch_size: int | None = None) -> Tensor:
    """Average the values (N, K) of each class, (C, K); 0 for a class without samples.

    Args:
        values: (N, K).
        label: Class indices, (N,).
        num_classes: C.
        batch_size: If given, average the means of consecutive batches of a class, of which the last may be small.
    """
    counts = torch.bincount(label, minlength=num_classes)  # (C,)
    weight = 1 / counts[label].to(values)  # (N,)
    if batch_size is not None:
        order = label.argsort(stable=True)
        position = torch.empty_like(label)  # within the class
        position[order] = torch.arange(len(label), device=label.device) - (counts.cumsum(0) - counts)[label[order]]
        num_batches = (counts[label] + batch_size - 1).div(batch_size, rounding_mode='floor')
        start = position.div(batch_size, rounding_mode='floor') * batch_size
        weight = 1 / (num_batches * (counts[label] - start).clamp(max=batch_size)).to(values)
    return values.new_zeros(num_classes, values.size(1)).index_add_(0, label, weight[:, None] * values)


def weighted_jensen_shannon(prob: Tensor, label: Tensor, mean_prob: Tensor) -> Tensor:
    r"""Compute the weighted divergence (WJSD) of each prediction from its label, (N,); small for clean samples.

    .. math:: \mathrm{JSD}(p_i, e_c) \cdot
        \mathrm{clamp}\left(\frac{\max_j p_{ij}}{p_{ic}}, 1, \frac{\max_j \bar p_{cj}}{\bar p_{cc}}\right)

    Args:
        prob: Softmax p, (N, C).
        label: c, (N,).
        mean_prob: Mean prediction of each class, (C, C).
    """
    target = F.one_hot(label, prob.size(1)).to(prob)
    middle = (prob + target) / 2

    def divergence(p: Tensor) -> Tensor:
        return (p * ((p + EPS) / (middle + EPS)).log()).sum(1)

    tiny = torch.finfo(prob.dtype).tiny
    own, own_mean = prob.gather(1, label[:, None])[:, 0], mean_prob.diagonal()
    weight = prob.amax(1) / own.clamp(min=tiny)
    limit = (mean_prob.amax(1) / own_mean.clamp(min=tiny)).clamp(min=1)[label]
    return (divergence(prob) + divergence(target)) / 2 * weight.clamp(min=1).minimum(limit)


def adaptive_centroids(prob: Tensor, directions: Tensor, label: Tensor, mean_prob: Tensor) -> tuple[Tensor, Tensor]:
    """Average the directions of the confident samples of each class: its centroid, which may be of another class.

    Confident samples of class c predict the class j with the largest mean prediction, with a probability above it. If
    there are none, all samples of c count.

    Args:
        prob: Softmax, (N, C).
        directions: Normalized features around the mean of all, (N, D).
        label: (N,).
        mean_prob: Mean prediction of each class, with large ones emphasized, (C, C).

    Returns:
        Centroids, (C, D), 0 for a class without samples, and the number of samples in each, (C,).
    """
    num_classes = prob.size(1)
    top, largest = mean_prob.argmax(1), mean_prob.amax(1)  # (C,), (C,)
    confidence, predicted = prob.max(1)
    confident = (predicted == top[label]) & (confidence > largest[label])  # (N,)
    counts = torch.bincount(label[confident], minlength=num_classes)
    confident |= counts[label] == 0
    counts = torch.bincount(label[confident], minlength=num_classes)
    return class_means(directions[confident], label[confident], num_classes), counts


@dataclass(frozen=True, eq=False)
class Separation:
    """The two measures of each sample, and what they come from.

    Args:
        wjsd: Weighted Jensen-Shannon divergence from the label, (N,); small for clean samples.
        acd: Cosine between the feature and the centroid of the class, (N,).
        mean_prob: Mean prediction of each class, (C, C).
        emphasized_prob: The same with large predictions emphasized, (C, C).
        centroids: (C, D).
        counts: Samples in each centroid, (C,).
    """

    wjsd: Tensor
    acd: Tensor
    mean_prob: Tensor
    emphasized_prob: Tensor
    centroids: Tensor
    counts: Tensor


def separate(features: Tensor, logits: Tensor, label: Tensor, batch_size: int | None, center: Tensor) -> Separation:
    """Compute the two measures of every sample.

    Args:
        features: (N, D).
        logits: (N, C).
        label: Observed labels, (N,).
        batch_size: See :func:`class_means`, for the mean predictions.
        center: Mean of the features, (D,).
    """
    prob, num_classes = logits.softmax(1), logits.size(1)
    mean_prob = class_means(prob, label, num_classes, batch_size)  # (C, C)
    top = mean_prob.argmax(1)[label][:, None]  # (N, 1)
    confidence = prob.gather(1, top)
    factor = (confidence / mean_prob[label].gather(1, top)).clamp(min=1)
    emphasized = class_means(prob.scatter(1, top, confidence * factor), label, num_classes, batch_size)
    directions = F.normalize(features - center, dim=1)  # (N, D)
    centroids, counts = adaptive_centroids(prob, directions, label, emphasized)
    acd = (directions * centroids[label]).sum(1)
    return Separation(weighted_jensen_shannon(prob, label, mean_prob), acd, mean_prob, emphasized, centroids, counts)


@MODELS.register_module()
class BiDimensionalSelector(CleanSelector):
    """Selects clean samples within each class, so that those of tail classes are not lost among those of the head.

    Each class is split twice by a mixture of two Gaussians, by the divergence of prediction and label (WJSD) and by the
    distance to an adaptive centroid (ACD), see [0]. A class whose divergences do not tell its ACD clusters apart is
    split by ACD, another by WJSD: then its samples of low divergence are selected. By ACD it is those near the
    centroid, or, where that seems to be the centroid of a larger class, those far from it. The posterior is the
    probability that the label is right.

    Where the authors' code has NaN or stops: A class that neither measure splits, of one sample or of equal ones, is
    selected as a whole with probability 1. If one measure does not split it, into two clusters with samples, the other
    one does. A class without samples has no selection.

    References:
        [0] Lu et al., Label-Noise Learning with Intrinsically Long-Tailed Data, ICCV 2023, arXiv 2208.09833.
        [1] github.com/Wakings/TABASCO @712992b. Reproduced (tests/conformance, ``tabasco``), with the mean feature of
            the data themselves, as in its ``train_cifar_ssl_acceleration.py``; ``train_cifar_ssl.py`` draws a second
            noisy set for it.

    Args:
        min_ratio: The classes are split by WJSD if its standard deviation in the ACD cluster of high divergence is
            smaller than this times that in the other.
        margin: A centroid may be of another class if its similarities to itself and to that differ by less than this
            share.
        batch_size: Average the predictions of a class by batches of this size, as ``train_cifar_ssl.py`` does; None for
            the mean over its samples.
        max_iter: See :class:`CleanSelector`.
        tol: See :class:`CleanSelector`.
        reg_covar: See :class:`CleanSelector`.
    """

    def __init__(
        self,
        min_ratio: float = 0.65,
        margin: float = 0.1,
        batch_size: int | None = None,
        max_iter: int = 30,
        tol: float = 1e-2,
        reg_covar: float = 5e-4,
    ) -> None:
        super().__init__(max_iter=max_iter, tol=tol, reg_covar=reg_covar)
        check(min_ratio=(min_ratio, '>= 0'), margin=(margin, '>= 0'), batch_size=(batch_size, 'int >= 1 or None'))
        self.min_ratio, self.margin, self.batch_size = min_ratio, margin, batch_size

    def center(self, features: Tensor) -> Tensor:
        """Return the mean feature, (D,), of features (N, D)."""
        return features.mean(0)

    def select(
        self, features: Tensor, logits: Tensor, label: Tensor, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        features, logits, label = features.double().cpu(), logits.double().cpu(), label.cpu()
        parts = separate(features, logits, label, self.batch_size, self.center(features))
        affinity = (parts.centroids @ parts.centroids.T).softmax(1).numpy()  # (C, C)
        wjsd, acd, counts = parts.wjsd.numpy(), parts.acd.numpy(), parts.counts.numpy()
        selected, probability = np.zeros(len(wjsd), dtype=bool), np.zeros(len(wjsd))
        sizes = torch.bincount(label, minlength=len(counts))
        for c, rows in enumerate(np.split(label.argsort(stable=True).numpy(), sizes.cumsum(0)[:-1].numpy())):
            if len(rows):
                swapped = self.is_centroid_of_larger_class(c, affinity[c], counts)
                chosen = self.select_in_class(min_max(wjsd[rows]), min_max(acd[rows]), swapped, random_state)
                selected[rows], probability[rows] = chosen
        return selected, np.where(selected, probability, 0)

    def is_centroid_of_larger_class(self, c: int, affinity: np.ndarray, counts: np.ndarray) -> bool:
        """Return whether the centroid of class c may be that of a class with more samples in its centroid.

        Args:
            c: The class.
            affinity: Softmax of the products of its centroid with all, (C,).
            counts: Samples in each centroid, (C,).
        """
        others = np.where(np.arange(len(counts)) == c, -np.inf, affinity)
        other = int(others.argmax())
        is_near = abs(affinity[c] - affinity[other]) < self.margin * affinity[c]
        return bool(other != c and is_near and counts[c] < counts[other])

    def select_in_class(
        self, wjsd: np.ndarray, acd: np.ndarray, far: bool, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Select the clean samples of a class, and give their probabilities; two arrays (n,).

        Args:
            wjsd: Divergences, scaled to [0, 1], (n,).
            acd: Cosines with the centroid, scaled to [0, 1], (n,).
            far: Select those far from the centroid if the class is split by ``acd``.
            random_state: Of the mixtures.
        """
        by_wjsd, by_acd = (fit_mixture(values, **self.mixture, random_state=random_state) for values in (wjsd, acd))
        can_wjsd, can_acd = (mixture is not None and mixture.splits for mixture in (by_wjsd, by_acd))
        if not can_wjsd and not can_acd:
            return np.ones(len(wjsd), dtype=bool), np.ones(len(wjsd))
        if can_wjsd and not (can_acd and not self.prefers_wjsd(wjsd, by_wjsd, by_acd)):
            return by_wjsd.is_low, by_wjsd.posterior
        return (by_acd.is_low, by_acd.posterior) if far else (~by_acd.is_low, 1 - by_acd.posterior)

    def prefers_wjsd(self, wjsd: np.ndarray, by_wjsd: Mixture, by_acd: Mixture) -> bool:
        """Return whether the divergences tell the clusters of ``by_acd`` apart."""
        clusters = wjsd[by_acd.is_low], wjsd[~by_acd.is_low]
        component = by_wjsd.model.predict(np.array([[cluster.mean()] for cluster in clusters]))  # (2,)
        std = np.ones(2)  # by component
        for k, cluster in zip(component, clusters):
            std[k] = cluster.std() or 0.1
        low = by_wjsd.component
        only_high = component[0] == component[1] != low
        return bool(only_high or std[1 - low] / std[low] < self.min_ratio)

    def extra_repr(self) -> str:
        own = f'min_ratio={self.min_ratio}, margin={self.margin}, batch_size={self.batch_size}'
        return f'{own}, {super().extra_repr()}'
