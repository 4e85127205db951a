"""What the losses for mmdet's heads share: how they meet the head."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..base import ClassificationLoss, at_least_float32

__all__ = ['RoIClsLoss']


class RoIClsLoss(ClassificationLoss):
    """Base of the losses for detection, C classes and background, which is label C.

    mmdet's box heads ask the loss for the width of the classifier, the scores and the accuracy where it has the three
    ``custom_*`` flags; ltmm's box heads take the prior probability from it too. What is here is right for one sigmoid a
    class, with a column for background or without; a loss whose scores are others overrides :meth:`get_activation` and
    :meth:`get_accuracy`. Dense and DETR heads have C columns, and take the sigmoids themselves.

    Attributes:
        num_background_columns: columns of a box head's classifier beside those of the C classes.
        prior_prob: score of every class at the start of training, as most of the N x C targets are 0; None leaves the
            classifier without a bias of its own.
        gathers_by_class: whether the loss has a state that the labels it sees change.
        num_columns: columns that the logits must have; None until a head has asked.
    """

    fits = ('roi',)
    use_sigmoid = True  # what DETR heads ask
    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True
    num_background_columns = 0
    prior_prob: float | None = 0.001
    gathers_by_class = False
    num_columns: int | None = None

    def on_num_classes(self, num_classes: int) -> None:
        """Take C from the head, when it is built; nothing by default."""

    def get_cls_channels(self, num_classes: int) -> int:
        """Width of a box head's classifier."""
        self.on_num_classes(num_classes)
        self.num_columns = num_classes + self.num_background_columns
        return self.num_columns

    def get_dense_channels(self, num_classes: int) -> int:
        """Width of the classifier of a dense or DETR head: C. The scores are then the head's own affair."""
        self.on_num_classes(num_classes)
        self.custom_cls_channels = self.custom_activation = self.custom_accuracy = False
        self.num_columns = num_classes
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1) of a box head's logits; the last column is that which mmdet's NMS takes off.

        Without a column for background it is zeros. With one, sigma(z_c) is multiplied by 1 - sigma(z_background).
        """
        scores = at_least_float32(cls_score).sigmoid()
        if not self.num_background_columns:
            return torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)
        return torch.cat([scores[:, :-1] * (1 - scores[:, -1:]), scores[:, -1:]], dim=1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of the foreground rows whose highest logit of a class is that of theirs, in percent; 0 without any.

        Args:
            cls_score: a box head's logits, (N, C), (N, C + 1) or (N, C + 2).
            labels: class indices, (N,); C is background.
        """
        num_classes = cls_score.size(1) - self.num_background_columns
        foreground = labels < num_classes
        correct = (cls_score[:, :num_classes].argmax(1) == labels).sum()  # a background row is never correct
        return dict(acc_classes=100 * correct / foreground.sum().clamp(min=1))

    def one_update(self) -> AbstractContextManager:
        """Within it, all calls are of one iteration: what the loss gathers from them takes effect at the end, as one.

        Heads that call their loss level by level or layer by layer do so in it. Nothing to do without state.
        """
        return nullcontext()

    def _check(self, cls_score: Tensor, label: Tensor) -> None:
        super()._check(cls_score, label)
        if self.num_columns is not None and cls_score.size(1) != self.num_columns:
            raise ValueError(
                f'{type(self).__name__}: expected logits of shape (N, {self.num_columns}), as was said to the head '
                f'when it was built, but got {tuple(cls_score.shape)}. A head whose classifier has a width of its own '
                "needs another loss, such as dict(type='mmdet.CrossEntropyLoss')."
            )
