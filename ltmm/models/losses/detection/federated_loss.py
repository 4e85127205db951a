"""Federated loss: sigmoid cross entropy on the classes of the batch and a few others, drawn by their frequency."""

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_memory import gumbel_like
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import at_least_float32
from ..functional import positives, sigmoid_focal
from .base import ClassPriorDetectionLoss

__all__ = ['FederatedLoss', 'draw_federated_classes', 'federated_loss']


def draw_federated_classes(label: Tensor, log_weight: Tensor, num_classes: int) -> Tensor:
    """Return which classes and whether background are in the set of this batch, bool, (C + 1,).

    The set holds every label of the batch, and is filled up to ``num_classes`` with other classes, drawn without
    replacement in proportion to their weight (Gumbel top-k). Background is never drawn.

    Args:
        label: Class indices, (N,); C is background.
        log_weight: Logarithm of the weight of each class, (C,); minus infinity for those never drawn.
        num_classes: Size of the set, background included.
    """
    key = F.pad(log_weight + gumbel_like(log_weight), (0, 1), value=-torch.inf)  # (C + 1,)
    key = key.index_fill(0, label, torch.inf)
    top = key.topk(min(num_classes, len(key))).indices
    is_first = torch.zeros_like(key, dtype=torch.bool).index_fill(0, top, True)
    return (is_first & (key > -torch.inf)) | (key == torch.inf)


def federated_loss(
    cls_score: Tensor, label: Tensor, is_drawn: Tensor, gamma: float = 0.0, alpha: float | None = None
) -> Tensor:
    """Compute the sigmoid cross entropy or focal loss, summed over the drawn classes, (N,).

    Args:
        cls_score: Logits, (N, C).
        label: Class indices, (N,); C is background.
        is_drawn: Whether each class is in the set, (C,).
        gamma: Focusing strength; 0 gives the cross entropy.
        alpha: Weight of the positives; that of the negatives is 1 - alpha. None: both are 1.
    """
    is_positive = positives(label, cls_score.size(1))
    loss = sigmoid_focal(torch.where(is_positive, -cls_score, cls_score), gamma)
    if alpha is not None:
        loss = loss * torch.where(is_positive, alpha, 1 - alpha)
    return (loss * is_drawn).sum(1)


@MODELS.register_module()
class FederatedLoss(ClassPriorDetectionLoss):
    r"""Gives negatives to few classes per batch, so that tail classes get fewer of them than head classes.

    .. math::
        L = \frac{1}{N} \sum_i \sum_{j \in S} \mathrm{BCE}(z_{ij}, y_{ij}), \qquad
        S = \{y_1, \dots, y_N\} \cup \{c_1, c_2, \dots\}, \qquad c \sim n_c^{\text{power}}

    S holds every label of the batch and is filled up to ``num_sampled_classes``, background included where it occurs,
    with other classes drawn without replacement; n_c counts the training images of class c, and a class without images
    is not drawn. Every rank and every call (decoder layer, level, stage of a cascade) draws for itself, as in [1]. In
    box heads there is a column for background that no loss trains, as in [1], so that its classifiers can be loaded;
    scores are the sigmoids. One-stage and DETR heads have C columns; they are made for a focal loss: set ``gamma=2``
    and ``alpha=0.25``. N counts the proposals with a weight (``avg_factor`` of mmdet's heads).

    The softmax form of [1] is plain cross entropy, as all labels of a batch are in S, and is therefore not offered.

    [0] Zhou et al., Probabilistic Two-stage Detection, arXiv 2103.07461; Zhou et al., Detecting Twenty-thousand Classes
        using Image-level Supervision, ECCV 2022, arXiv 2201.02605.
    [1] github.com/xingyizhou/CenterNet2 @bfc8b72, ``CustomFastRCNNOutputLayers.sigmoid_cross_entropy_loss``.
        Reproduces [1] to 1e-6 (tests/conformance, ``federated``).

    Args:
        num_sampled_classes: Size of S; 50 in [1] for the 1,203 classes of LVIS.
        power: Exponent of the frequency; 0.5 in [1].
        gamma: Focusing strength of the focal loss; 0 gives the cross entropy of [1], 2 is usual in dense heads.
        alpha: Weight of the positives in the focal loss, that of the negatives is 1 - alpha; None: both are 1.
        **kwargs: Arguments of :class:`ClassPriorDetectionLoss`.
    """

    num_background_columns = 1
    prior_prob = 0.01

    def __init__(
        self,
        *,
        num_sampled_classes: int = 50,
        power: float = 0.5,
        gamma: float = 0.0,
        alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        check(num_sampled_classes=(num_sampled_classes, 'int >= 1'), power=(power, '>= 0'))
        check(gamma=(gamma, '>= 0'), alpha=(alpha, 'in (0, 1) or None'))
        self.num_sampled_classes, self.power, self.gamma, self.alpha = num_sampled_classes, power, gamma, alpha
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        counts = distribution.image_counts
        if self.num_sampled_classes > len(counts):
            warnings.warn(
                f'FederatedLoss(num_sampled_classes={self.num_sampled_classes}) draws all of {len(counts)} classes '
                'for every batch, which is the plain cross entropy.',
                stacklevel=2,
            )
        log_weight = np.where(counts > 0, self.power * np.log(counts.clip(min=1)), -np.inf)
        self.register_derived('log_weight', log_weight)

    @torch.no_grad()
    def draw(self, label: Tensor) -> Tensor:
        """Draw the set of a batch, see :func:`draw_federated_classes`."""
        return draw_federated_classes(label, self.log_weight, self.num_sampled_classes)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        num_classes = len(self.log_weight)
        is_drawn = self.draw(label)[:num_classes]
        return federated_loss(cls_score[:, :num_classes], label, is_drawn, self.gamma, self.alpha)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the sigmoids, (N, C + 1); the last column has no meaning."""
        return at_least_float32(cls_score).sigmoid()

    def extra_repr(self) -> str:
        return (
            f'num_sampled_classes={self.num_sampled_classes}, power={self.power}, gamma={self.gamma}, '
            f'alpha={self.alpha}, {super().extra_repr()}'
        )
