"""Base of the losses of labeled and unlabeled images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import divisor, mean_over_ranks
from ..objective import LossInputs, Objective

__all__ = ['PseudoLabels', 'SemiSupervisedLoss', 'consistency', 'supervised']


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Pseudo-labels of the last batch, for reports.

    Attributes:
        label: Class indices, (M,).
        mask: Whether each is used, (M,).
        sample_idx: Index of each image in the training set, (M,); None if the data do not tell it.
    """

    label: Tensor
    mask: Tensor
    sample_idx: Tensor | None


def supervised(cls_score: Tensor, label: Tensor) -> Tensor:
    """Compute the mean cross entropy over all views of the labeled images, of all ranks.

    Args:
        cls_score: Logits, view-major, (V N, C).
        label: Class indices, (N,).
    """
    label = label.repeat(len(cls_score) // max(len(label), 1))
    return F.cross_entropy(cls_score, label, reduction='sum') / divisor(len(cls_score), cls_score)


def consistency(cls_score: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean cross entropy of strong views with pseudo-labels, masked images counting as 0, of all ranks.

    Args:
        cls_score: Logits of S strong views, (S, M, C).
        target: Pseudo-labels: class indices, (M,), or probabilities, (M, C).
        mask: Whether each image takes part, or its weight, (M,).
    """
    num_views, num_images = cls_score.shape[:2]
    target = target.repeat(num_views, *[1] * (target.dim() - 1))
    loss = F.cross_entropy(cls_score.flatten(0, 1), target, reduction='none') * mask.to(cls_score).repeat(num_views)
    return loss.sum() / divisor(num_views * num_images, cls_score)


class SemiSupervisedLoss(Objective):
    """Base class of losses that learn from labeled and unlabeled images, for ``ltmm.SemiSupervisedClassifier``.

    A subclass writes :meth:`terms`. Its inputs are ``cls_score`` and ``label`` of the labeled images and
    ``unlabeled_score`` (W, M, C) of W views of the unlabeled ones, the weak view first. Their true labels are not among
    the inputs. What :meth:`report` returns belongs to the terms: it is logged.

    Args:
        threshold: Confidence from which on pseudo-labels are used.

    Attributes:
        min_unlabeled_views: Least number of views of the unlabeled images: one weak view and the strong ones.
        pseudo_labels: Those of the last batch.
    """

    requires = ('cls_score', 'unlabeled_score')
    min_unlabeled_views = 2

    def __init__(self, *, threshold: float = 0.95) -> None:
        super().__init__()
        check(threshold=(threshold, 'in [0, 1]'))
        self.threshold = threshold
        self.pseudo_labels: PseudoLabels | None = None

    def report(self, inputs: LossInputs, label: Tensor, confidence: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Keep the pseudo-labels for ``ltmm.PseudoLabelHook``, and return what the log shows of them, of all ranks.

        Args:
            inputs: The inputs.
            label: Pseudo-labels, (M,).
            confidence: Their probabilities, (M,).
            mask: Whether each is used, (M,).
        """
        self.pseudo_labels = PseudoLabels(label.detach(), mask.detach().bool(), inputs.unlabeled_idx)
        values = torch.stack([mask.detach().to(confidence).sum(), confidence.detach().sum()])
        rate, mean = mean_over_ranks(values) / divisor(len(label), values)
        return dict(mask_rate=rate, confidence=mean, threshold=rate.new_full((), self.threshold))

    def _check(self, inputs: LossInputs) -> None:
        views = inputs.unlabeled_score.size(0)
        if views < self.min_unlabeled_views:
            raise InputError(
                f'{type(self).__name__}: expected at least {self.min_unlabeled_views} views of each unlabeled image, '
                f'the weak one first, but got {views}: use MultiView in the pipeline of `unlabeled`.'
            )

    def extra_repr(self) -> str:
        return f'threshold={self.threshold}'
