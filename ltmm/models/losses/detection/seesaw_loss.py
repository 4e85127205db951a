"""Seesaw loss: fewer negative gradients from head to tail classes, unless they cause false positives."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.state.running_sums import RunningCounts
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, MissingInputError

from ..base import ClassificationLoss, at_least_float32, reduce_loss
from .base import DetectionLoss, check_num_classes

__all__ = ['SeesawLoss', 'seesaw_loss']


def seesaw_loss(cls_score: Tensor, label: Tensor, counts: Tensor, p: float, q: float, eps: float) -> Tensor:
    r"""Compute the cross entropy of the logits :math:`z_k + \log M_k F_k`, (N,).

    The logarithm of the mitigation factor M is p min(log n_k - log n_y, 0), that of the compensation factor F is
    q max(log s_k - log max(s_y, eps), 0); both are 0 for k = y, and have no gradient.

    Args:
        cls_score: Logits z, (N, C).
        label: Class indices y, (N,).
        counts: n, (C,); 0 counts as 1.
        p: Strength of M.
        q: Strength of F.
        eps: Lower bound of s_y in F.
    """
    index = label.unsqueeze(1)  # (N, 1)
    log_count = counts.clamp(min=1).log().to(cls_score)  # (C,)
    log_prob = cls_score.detach().log_softmax(1)  # (N, C)
    mitigation = p * (log_count - log_count[index]).clamp(max=0)
    compensation = q * (log_prob - log_prob.gather(1, index).clamp(min=math.log(eps))).clamp(min=0)
    return F.cross_entropy(cls_score + mitigation + compensation, label, reduction='none')


@MODELS.register_module()
class SeesawLoss(DetectionLoss, ClassificationLoss):
    r"""Reduces the negative gradients from head to tail classes, and raises those of false positive classes.

    .. math::
        \ell(z, y) = -\log \frac{e^{z_y}}{\sum_k M_k F_k e^{z_k}}, \qquad
        M_k = \min\left(\frac{n_k}{n_y}, 1\right)^p, \qquad
        F_k = \max\left(\frac{s_k}{\max(s_y, \epsilon)}, 1\right)^q, \qquad s = \mathrm{softmax}(z)

    n counts the labels seen in training, on all ranks and with this batch, and is at least 1. In box heads two more
    columns tell objects from background: the classes learn from the objects, these two from all proposals, and scores
    are softmax(z)_k times the softmax for object. The loss then has two terms, ``loss_cls_objectness`` and
    ``loss_cls_classes``, both divided by the number of proposals with a weight. Classification heads have C columns.
    Best with cosines: ``mmdet.NormedLinear`` as ``cls_predictor_cfg``.

    mmdet's ``SeesawLoss`` counts on each rank alone.

    [0] Wang et al., Seesaw Loss for Long-Tailed Instance Segmentation, CVPR 2021, arXiv 2008.10032.
    [1] github.com/open-mmlab/mmdetection @v3.3.0, ``SeesawLoss``, by the authors. Reproduces [1] to 1e-6
        (tests/conformance, ``seesaw``).

    Args:
        p: Strength of M; 0.8 in [0].
        q: Strength of F; 2 in [0].
        eps: Lower bound of s_y in F; 0.01 in [1].
        num_classes: C, needed in classification heads; box heads fill it in.
        **kwargs: ``loss_weight``, ``reduction`` and ``class_weight`` of :class:`DetectionLoss`.
    """

    use_sigmoid = False
    num_background_columns = 2
    prior_prob = None

    def __init__(
        self, *, p: float = 0.8, q: float = 2.0, eps: float = 0.01, num_classes: int | None = None, **kwargs: Any
    ) -> None:
        check(p=(p, '>= 0'), q=(q, '>= 0'), eps=(eps, 'in (0, 1]'))
        if -q * math.log(eps) > 60:
            raise InputError(f'Expected eps ** -q to be at most exp(60), but got q={q} and eps={eps}.')
        super().__init__(**kwargs)
        self.p, self.q, self.eps, self.num_classes = p, q, eps, num_classes
        if num_classes is not None:
            self.num_columns = num_classes
            self.counts = RunningCounts(num_classes)

    def on_num_classes(self, num_classes: int) -> None:
        check_num_classes('SeesawLoss', num_classes, self.num_classes)
        self.num_classes = num_classes
        self.counts = RunningCounts(num_classes + 1)

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        counts = self.counts.counts[: self.num_classes]
        return seesaw_loss(cls_score, label, counts, self.p, self.q, self.eps)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Compute the loss; in training, count the labels first.

        Args:
            cls_score: Logits, (N, C); (N, C + 2) in box heads, with object before background at the end.
            label: Class indices, (N,); C is background.
            weight: Weight of each row, (N,).
            avg_factor: Divisor of the mean, in place of N.
            reduction_override: Reduction of this call.
        """
        self._check(cls_score, label)
        self.counts.update(label)
        if self.num_columns == self.num_classes:
            return super().forward(cls_score, label, weight, avg_factor, reduction_override)
        score = at_least_float32(cls_score)
        objects = (label < self.num_classes).nonzero().squeeze(1)  # (P,)
        with torch.autocast(score.device.type, enabled=False):
            score, objectness = score.split([self.num_classes, 2], dim=1)
            of_objects = self.unreduced(score.index_select(0, objects), label[objects])  # (P,)
            classes = score.new_zeros(len(label)).index_add(0, objects, of_objects)  # (N,)
            is_background = (label == self.num_classes).long()
            objectness = F.cross_entropy(objectness, is_background, reduction='none')  # (N,)
        how = (self.row_weight(score, label, weight), reduction_override or self.reduction, avg_factor)
        return dict(
            loss_cls_objectness=self.loss_weight * reduce_loss(objectness, *how),
            loss_cls_classes=self.loss_weight * reduce_loss(classes, *how),
        )

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return scores (N, C + 1) of the logits (N, C + 2) of a box head; the last column is background."""
        score = at_least_float32(cls_score)
        objectness = score[:, -2:].softmax(1)
        return torch.cat([score[:, :-2].softmax(1) * objectness[:, :1], objectness[:, 1:]], dim=1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the accuracy among the objects and of telling them from background, in percent."""
        is_background = (labels == self.num_classes).long()
        correct = (cls_score[:, -2:].argmax(1) == is_background).sum()
        accuracy = super().get_accuracy(cls_score, labels)
        return dict(acc_objectness=100 * correct / max(len(labels), 1), **accuracy)

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        if self.num_columns is None:
            raise MissingInputError('SeesawLoss does not know the number of classes: give num_classes=C.')
        super()._check(cls_score, label)

    def extra_repr(self) -> str:
        return f'p={self.p}, q={self.q}, eps={self.eps}, {super().extra_repr()}'
