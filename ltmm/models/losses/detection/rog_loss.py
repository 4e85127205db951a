"""ROG: a ranking loss over all proposals beside any classification loss."""

from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..class_weights import takes_no_class_weight
from .base import BoxHeadLoss, build_detection_loss, missing_num_classes_error

__all__ = ['ROGLoss']


@MODELS.register_module()
@takes_no_class_weight('give it to the `loss` inside.')
class ROGLoss(BoxHeadLoss):
    r"""Adds to any classification loss of a box head a ranking loss that favors objects of tail classes.

    .. math:: L = L_\mathrm{base} + L_\mathrm{rank}

    The base loss sees each proposal by itself, the ranking loss all proposals of a batch. Width of the classifier,
    scores, accuracy and prior probability are those of the base loss, so that one line adds the ranking::

        loss_cls=dict(type='ltmm.ROGLoss', loss=dict(type='ltmm.SeesawLoss', ...))

    [0] Zhang et al., Reconciling Object-Level and Global-Level Objectives for Long-Tail Detection, ICCV 2023.
    [1] github.com/EricZsy/ROG @1dad3cf. Reproduces [1] to 1e-6 (tests/conformance, ``rog_gap``).

    Args:
        loss: Loss of a box head: one of ltmm, or mmdet's softmax cross entropy or Seesaw loss.
        loss_rank: Ranking loss on the logits of the C classes, over the proposals of all ranks; a config is
            built with ``num_classes``.
    """

    def __init__(self, *, loss: nn.Module | dict, loss_rank: nn.Module | dict = dict(type='ltmm.GAPLoss')) -> None:
        super().__init__()
        self.loss = build_detection_loss(loss, 'ROGLoss')
        self._rank_cfg = None if isinstance(loss_rank, nn.Module) else loss_rank
        self.loss_rank: nn.Module | None = loss_rank if self._rank_cfg is None else None
        self.prior_prob, self.use_sigmoid = self.loss.prior_prob, self.loss.use_sigmoid

    def get_cls_channels(self, num_classes: int) -> int:
        if self._rank_cfg is not None:
            self.loss_rank = MODELS.build(dict(self._rank_cfg, num_classes=num_classes))
        return self.loss.get_cls_channels(num_classes)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        return self.loss.get_activation(cls_score)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return self.loss.get_accuracy(cls_score, labels)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Compute the terms of the base loss and ``loss_rank``.

        Args:
            cls_score: Logits, (N, width of the classifier).
            label: Class indices, (N,); C is background.
            weight: Weight of each proposal in the base loss, (N,); those of weight 0 are not ranked.
            avg_factor: Divisor of the mean of the base loss.
            reduction_override: None or ``'mean'``.
        """
        if self.loss_rank is None:
            raise missing_num_classes_error('ROGLoss')
        check(reduction_override=(reduction_override, (None, 'mean')))
        loss = self.loss(cls_score, label, weight, avg_factor=avg_factor, reduction_override=reduction_override)
        terms = loss if isinstance(loss, dict) else dict(loss_cls=loss)
        return terms | dict(loss_rank=self.loss_rank(cls_score, label, weight))
