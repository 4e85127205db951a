"""Equalized focal loss: classes with little gradient from positives get more focus and a larger weight."""

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor

from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import at_least_float32, divisor
from ..functional import positives, sigmoid_focal
from .base import DenseHeadLoss

__all__ = [
    'EqualizedFocalLoss',
    'EqualizedQualityFocalLoss',
    'equalized_quality_focal_loss',
    'focal_gradient',
    'quality_focal_gradient',
    'quality_target',
]


def focal_gradient(margin: Tensor, gamma: Tensor) -> Tensor:
    """Compute the absolute derivative of :func:`sigmoid_focal` of ``-margin`` by the logits, (N, C).

    Args:
        margin: z of positives and -z of negatives, (N, C).
        gamma: Exponent of each class, (C,).
    """
    slope = gamma * margin.sigmoid() * F.softplus(-margin) + (-margin).sigmoid()
    return torch.exp(-gamma * F.softplus(margin)) * slope


def equalized_quality_focal_loss(cls_score: Tensor, target: Tensor, gamma: Tensor) -> Tensor:
    """Compute abs(q - p)^gamma BCE(z, q) with p = sigmoid(z), (N, C).

    Args:
        cls_score: Logits z, (N, C).
        target: Quality q, 0 for negatives, (N, C).
        gamma: Exponent of each class, at least 1, (C,).
    """
    distance = (target - cls_score.sigmoid()).abs()
    return distance**gamma * F.binary_cross_entropy_with_logits(cls_score, target, reduction='none')


def quality_focal_gradient(cls_score: Tensor, target: Tensor, gamma: Tensor) -> Tensor:
    """Compute the absolute derivative of :func:`equalized_quality_focal_loss` by the logits, (N, C)."""
    prob = cls_score.sigmoid()
    distance = (target - prob).abs()
    bce = F.binary_cross_entropy_with_logits(cls_score, target, reduction='none')
    return distance ** (gamma - 1) * (distance**2 + gamma * prob * (1 - prob) * bce)


def quality_target(quality: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Return the quality in the column of the label and 0 in all others, (N, C).

    Args:
        quality: (N,).
        label: Class indices, (N,); C is background.
        num_classes: C.
    """
    target = quality.new_zeros(len(label), num_classes + 1)
    return target.scatter(1, label.unsqueeze(1), quality.unsqueeze(1))[:, :-1]


@MODELS.register_module()
class EqualizedFocalLoss(DenseHeadLoss):
    r"""Focal loss with more focus and weight for classes, mostly tail classes, that got little positive gradient (EFL).

    .. math::
        L = \frac{1}{N} \sum_{ij} \alpha_{ij} \frac{\gamma_j}{\gamma} (1 - p_{ij})^{\gamma_j} (-\log p_{ij}), \qquad
        \gamma_j = \gamma + s \, (1 - r_j), \quad r_j = \min(P_j / Q_j, 1)

    p_ij is the probability of the right decision about class j; alpha_ij is alpha for positives and 1 - alpha for
    negatives. P_j and Q_j are the absolute gradients of L on positives and negatives of class j, summed over all
    iterations and ranks; they act from the next iteration on, and carry no gradient. r_j is 1 before a class has any:
    the focal loss. N is ``avg_factor`` of mmdet's heads: the positive anchors of dense and DETR heads, as in [0], but
    all proposals with a weight in box heads. All have C sigmoids; levels or layers count as one iteration. The
    gradients are computed in closed form, so that neither clipping nor a scaled loss is in them.

    [0] Li et al., Equalized Focal Loss for Dense Long-Tailed Object Detection, CVPR 2022, arXiv 2201.02593.
    [1] github.com/ModelTC/United-Perception @52aaeb9, ``EqualizedFocalLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``efl``).

    Args:
        gamma: Exponent of the balanced classes; 2 in [0].
        scale: s, the increase of the exponent for a class without positive gradients; 8 in [0].
        alpha: Weight of the positives; 0.25 in [0]. None: all weights are 1.
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    needs_num_classes = True

    def __init__(self, *, gamma: float = 2.0, scale: float = 8.0, alpha: float | None = 0.25, **kwargs: Any) -> None:
        check(gamma=(gamma, '>= 1'), scale=(scale, '>= 0'), alpha=(alpha, 'in [0, 1] or None'))
        super().__init__(**kwargs)
        self.gamma, self.scale, self.alpha = gamma, scale, alpha

    @property
    def needs_whole_batch(self) -> bool:
        return True  # in pieces, the gradients of the first would act on the second

    def on_num_classes(self, num_classes: int) -> None:
        self.gradients = RunningGradients(num_classes)

    def one_update(self) -> AbstractContextManager:
        return self.gradients.one_update()

    @property
    def gradient_ratio(self) -> Tensor:
        """r, float64, (C,); 1 where P and Q are 0."""
        positive, negative = self.gradients.positive, self.gradients.negative
        ratio = (positive / (negative + 1e-10)).clamp(max=1)
        return ratio.masked_fill((positive == 0) & (negative == 0), 1.0)

    def focus(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the exponent and the weight of each class, (C,) and (C,)."""
        gamma = self.gamma + self.scale * (1 - self.gradient_ratio)
        return gamma.to(like), (gamma / self.gamma).to(like)

    def margin_and_weight(self, cls_score: Tensor, label: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the margins, z of positives and -z of negatives, and their alpha, (N, C)."""
        is_positive = positives(label, cls_score.size(1))
        alpha = 1.0 if self.alpha is None else torch.where(is_positive, self.alpha, 1 - self.alpha).to(cls_score)
        return torch.where(is_positive, cls_score, -cls_score), alpha

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        margin, alpha = self.margin_and_weight(cls_score, label)
        gamma, weight = self.focus(cls_score)
        return (alpha * weight * sigmoid_focal(-margin, gamma)).sum(1)

    def gradient(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return the absolute gradient of the unreduced loss, (N, C)."""
        margin, alpha = self.margin_and_weight(cls_score, label)
        gamma, weight = self.focus(cls_score)
        return alpha * weight * focal_gradient(margin, gamma)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss of logits (N, C); in training, add up the gradients."""
        loss = super().forward(cls_score, label, weight, avg_factor, reduction_override)
        if self.training:
            num = len(cls_score) if avg_factor is None else avg_factor
            is_mean = (reduction_override or self.reduction) == 'mean'
            self._gather(cls_score, label, weight, num if is_mean else None)
        return loss

    @torch.no_grad()
    def _gather(self, cls_score: Tensor, label: Any, weight: Tensor | None, num: float | Tensor | None) -> None:
        score = at_least_float32(cls_score)
        with torch.autocast(score.device.type, enabled=False):
            gradient = self.loss_weight * self.gradient(score, label)
        if num is not None:
            gradient = gradient / (divisor(num, score) * get_world_size())  # of the mean over all ranks
        weight = self.row_weight(score, label, weight)
        gradient = gradient if weight is None else gradient * weight.to(gradient).unsqueeze(1)
        label = label[0] if isinstance(label, tuple) else label
        num_classes = gradient.size(1)
        index = label.clamp(max=num_classes - 1)
        is_positive = (label < num_classes).to(gradient)
        of_positives = gradient.gather(1, index.unsqueeze(1)).squeeze(1)  # (N,)
        positive = gradient.new_zeros(num_classes).index_add_(0, index, of_positives * is_positive)
        negative = gradient.scatter(1, index.unsqueeze(1), (of_positives * (1 - is_positive)).unsqueeze(1)).sum(0)
        self.gradients.update(positive, negative)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, scale={self.scale}, alpha={self.alpha}, {super().extra_repr()}'


@MODELS.register_module()
class EqualizedQualityFocalLoss(EqualizedFocalLoss):
    r"""Equalized focal loss whose targets are qualities of boxes, with more focus on tail classes (EQFL).

    .. math::
        L = \frac{1}{N} \sum_{ij} \frac{\gamma_j}{\gamma} |q_{ij} - \sigma(z_{ij})|^{\gamma_j} \,
        \mathrm{BCE}(z_{ij}, q_{ij})

    q_ij is the quality of the box, its IoU with the object, in the column of its class, and 0 in all others. The
    exponents are those of :class:`EqualizedFocalLoss`; whether an entry is a positive depends on the label alone.
    ``ltmm.GFLHead`` gives the quality; other heads have none: there q is 1 for the right class, a focal loss of all
    anchors or proposals without alpha.

    [0] Li et al., Equalized Focal Loss for Dense Long-Tailed Object Detection, CVPR 2022, arXiv 2201.02593.
    [1] github.com/ModelTC/United-Perception @52aaeb9, ``EqualizedQualityFocalLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``efl``).

    Args:
        gamma: Exponent of the balanced classes; 2 in [1].
        scale: Increase of the exponent for a class without positive gradients; 8 in [1].
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    def __init__(self, *, gamma: float = 2.0, scale: float = 8.0, **kwargs: Any) -> None:
        super().__init__(gamma=gamma, scale=scale, alpha=None, **kwargs)

    def unreduced(self, cls_score: Tensor, label: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        gamma, weight = self.focus(cls_score)
        return (weight * equalized_quality_focal_loss(cls_score, self.target(cls_score, label), gamma)).sum(1)

    def gradient(self, cls_score: Tensor, label: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        gamma, weight = self.focus(cls_score)
        return weight * quality_focal_gradient(cls_score, self.target(cls_score, label), gamma)

    def target(self, cls_score: Tensor, label: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Return q, (N, C)."""
        label, quality = label if isinstance(label, tuple) else (label, cls_score.new_ones(len(label)))
        return quality_target(quality.to(cls_score), label, cls_score.size(1))

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor | tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss; in training, add up the gradients.

        Args:
            cls_score: Logits, (N, C).
            label: Class indices, (N,), C is background; or these and the quality of each anchor, (N,).
            weight: Weight of each anchor, (N,).
            avg_factor: Divisor of the mean, in place of N.
            reduction_override: Reduction of this call.
        """
        return super().forward(cls_score, label, weight, avg_factor, reduction_override)

    def class_label(self, cls_score: Tensor, label: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        return label

    def class_factor(self, cls_score: Tensor, label: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        return super().class_factor(cls_score, label[0] if isinstance(label, tuple) else label)
