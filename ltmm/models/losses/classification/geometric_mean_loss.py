"""GML: minus the log of the geometric mean of the soft recalls of the classes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassPriorLoss, at_least_float32, mean_over_ranks
from ..class_weights import takes_no_class_weight

__all__ = ['GeometricMeanLoss', 'geometric_mean_loss', 'soft_recalls']


def soft_recalls(prob: Tensor, target: Tensor, per_rank: bool = False) -> tuple[Tensor, Tensor]:
    """Average the probability of the label over the samples of each class, of all ranks.

    Args:
        prob: (N, C).
        target: Weight of each sample in the mean of each class, (N, C): one-hot labels, soft labels.
        per_rank: Average over the own samples only.

    Returns:
        Soft recalls, (C,), 1 for a class without samples; which classes have samples, (C,).
    """
    total = mean_over_ranks((target * prob).sum(0), per_rank)
    weight = mean_over_ranks(target.sum(0), per_rank)
    present = weight > 0
    return torch.where(present, total, 1.0) / torch.where(present, weight, 1.0), present


def geometric_mean_loss(recall: Tensor, present: Tensor, p: float = 1.0) -> Tensor:
    r"""Compute :math:`\big(\frac{1}{|P|} \sum_{c \in P} (-\log r_c)^p\big)^{1/p}`; 0 without any class.

    Args:
        recall: Soft recalls r, (C,).
        present: Whether a class is in P, (C,); the recall of the others is 1.
        p: 1 gives minus the log of the geometric mean.
    """
    return torch.linalg.vector_norm(-recall.log(), p) / present.sum().clamp(min=1) ** (1 / p)


@MODELS.register_module()
@takes_no_class_weight('all classes of a batch count the same.')
class GeometricMeanLoss(ClassPriorLoss):
    r"""Maximizes the geometric mean of the soft recalls, so that no class is left behind: the worst classes count most.

    .. math:: L = -\frac{1}{|P|} \sum_{c \in P} \log \frac{1}{n_c} \sum_{i: y_i = c} q_i, \qquad
        q_i = \frac{N_{y_i}^\tau e^{z_{i, y_i}}}{\sum_k N_k^\tau e^{z_{ik}}}

    P are the classes of the batch, n their samples in it, N the training images. [0] freezes a trained backbone, learns
    a new classifier with this loss and averages the predictions of both, see :class:`ltmm.models.ClassifierEnsemble`.
    Prefer large batches: with one sample per class, it is balanced softmax averaged over the classes of the batch.

    The loss is one number per batch, in which all classes count the same, so there is no ``reduction`` and no
    ``class_weight``, and ``avg_factor`` changes nothing. The weight of a sample is its weight in the mean of its class.
    A probability below ``min_prob`` counts as ``min_prob`` and has no gradient, like that of a class without training
    images. Soft labels count a sample in several classes.

    [0] Du and Wu, No One Left Behind: Improving the Worst Categories in Long-Tailed Learning, CVPR 2023,
        arXiv 2303.03630.
    [1] Class ``GML`` that the authors gave to a reproduction; they published no repository. Reproduces it to 1e-6
        (tests/conformance, ``gml`` and ``trajectory_gml``).

    Args:
        p: Mean of the classes' terms: :math:`\big(\frac{1}{|P|} \sum_c (-\log r_c)^p\big)^{1/p}`.
        min_prob: Smallest probability.
        tau: Strength of the prior; 0 leaves it out.
        per_rank: Take recalls and P from the own part of the batch, as [1] does. By default several ranks learn as one.
        loss_weight: Weight of the loss.
        class_counts: Training images per class. Default: taken from the training data.
        num_classes: C, to check the counts against.
    """

    accepts_soft_labels = True
    balances_classes = True
    reweights = True  # weights of a class cancel in its recall

    def __init__(
        self,
        *,
        p: float = 1.0,
        min_prob: float = 1e-5,
        tau: float = 1.0,
        per_rank: bool = False,
        loss_weight: float = 1.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        check(p=(p, '>= 1'), min_prob=(min_prob, 'in (0, 1)'), tau=(tau, '>= 0'))
        self.p, self.min_prob, self.tau, self.per_rank = p, min_prob, tau, per_rank
        super().__init__(loss_weight=loss_weight, class_counts=class_counts, num_classes=num_classes)

    @property
    def needs_whole_batch(self) -> bool:
        return True

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        log_prior = distribution.log_prior
        self.register_derived('offset', self.tau * log_prior if self.tau else 0 * distribution.prior)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss of a batch.

        Args:
            cls_score: Logits, (N, C).
            label: Class indices, (N,), or soft labels, (N, C).
            weight: Weight of each sample in the mean of its class, (N,).
            avg_factor: Not used.
            reduction_override: None or ``'mean'``.
        """
        check(reduction_override=(reduction_override, (None, 'mean')))
        self._check(cls_score, label)
        cls_score = at_least_float32(cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            prob = (cls_score + self.offset.to(cls_score)).softmax(1).clamp(self.min_prob, 1)  # (N, C)
            target = (label if label.dim() == 2 else F.one_hot(label, prob.size(1))).to(prob)
            target = target if weight is None else weight.to(target).unsqueeze(1) * target
            return self.loss_weight * geometric_mean_loss(*soft_recalls(prob, target, self.per_rank), self.p)

    def extra_repr(self) -> str:
        return f'p={self.p}, min_prob={self.min_prob}, tau={self.tau}, per_rank={self.per_rank}'
