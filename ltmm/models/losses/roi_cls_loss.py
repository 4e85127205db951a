"""What the sigmoid losses for mmdet's RoI box heads share: how they meet the head."""

import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistributionError

from .base import ClassPriorLoss

__all__ = ['RoIClsLoss']


class RoIClsLoss(ClassPriorLoss):
    """Base of the losses that give each of the C classes a sigmoid of its own; label C is background.

    mmdet's box heads ask the loss for the width of the classifier, the scores and the accuracy where it has the three
    ``custom_*`` flags; ltmm's box heads take the prior probability from it too.
    """

    fits = ('roi',)
    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True
    prior_prob = 0.001  # score of every class at the start of training: most of the N x C targets are 0

    def get_cls_channels(self, num_classes: int) -> int:
        """Width of the classifier: C, no column for background. From now on counts must be of ``num_classes`` classes.

        Raises:
            ClassDistributionError: counts of another number of classes were given in the config.
        """
        known = self.class_distribution.get()
        if known is not None and known.num_classes != num_classes:
            raise ClassDistributionError(
                f'{type(self).__name__}: expected `class_counts` to have {num_classes} entries, the `num_classes` of '
                f'its head, but got {known.num_classes}. Background is not counted.'
            )
        self._num_classes = num_classes
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1) of logits (N, C): sigmoids, and the column of zeros that mmdet's NMS takes off."""
        scores = cls_score.sigmoid()
        return torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of the foreground rows whose highest logit is that of their class, in percent; 0 without such rows.

        Args:
            cls_score: logits, (N, C).
            labels: class indices, (N,); C is background.
        """
        foreground = labels < cls_score.size(1)
        correct = (cls_score.argmax(1) == labels).sum()  # a background row is never correct
        return dict(acc_classes=100 * correct / foreground.sum().clamp(min=1))
