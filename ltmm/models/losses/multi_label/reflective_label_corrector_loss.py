"""COMIC's reflective label corrector: confident predictions become labels, and the class counts follow."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .base import MultiLabelPriorLoss
from .multi_focal_modifier_loss import multi_focal_loss, scarcity_weight

__all__ = ['ReflectiveLabelCorrectorLoss']


@MODELS.register_module()
class ReflectiveLabelCorrectorLoss(UsesProgress, MultiLabelPriorLoss):
    r"""Treats labels with a high score as positives, and weights classes by the counts with these recalled labels.

    With p the sigmoid of the logits (minus a margin for positives), a label becomes positive if p > ``threshold`` and
    p > the mean of p over the batch for its class. The labels recalled in this epoch are added to the class counts n
    before the loss

    .. math:: L = -\frac{B}{P} \sum_c \omega_c \left[ y'_c \log p_c + (1 - y'_c)
              (1 - \tilde q_c)^{\gamma^- + \omega_c} \log \tilde q_c \right], \qquad
              \omega_c = (1 - \log (n'_c / \max n'))^{1/6}, \quad \tilde q = \min(1 - p + m, 1)

    (for :math:`\gamma^+ = 0`), with P the number of corrected positives, at least 1, and B = ``batch_size``. Before
    ``start_epoch`` the loss is 0. Unknown labels that are not recalled have loss 0; a class without images has weight 0
    until one is recalled.

    Mean scores, P and the recalled labels are reduced over ranks: several processes learn as one from the union of
    their batches. In evaluation mode nothing is counted.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``ReflectiveLabelCorrectorLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``comic_rlc``).

    Args:
        threshold: In [0, 1).
        margin: Subtracted from the logits of positives.
        start_epoch: First epoch with this loss, counted from 0. [1] counts from 1: its ``compute_epoch=1`` is 0 here.
        gamma_neg: :math:`\gamma^-`.
        gamma_pos: :math:`\gamma^+`.
        clip: m.
        batch_size: B, the batch size of [1], whatever that of the data.
        weight_exponent: Exponent of the class weights.
        eps: Lower bound of the argument of the logarithm.
        reduction: See :class:`MultiLabelLoss`; ``'sum'`` in [1].
        **kwargs: Arguments of :class:`MultiLabelPriorLoss`.

    Attributes:
        recalled: Labels of each class recalled in this epoch by all ranks, int64, (C,); in the checkpoint.
    """

    accepts_unknown = True

    def __init__(
        self,
        *,
        threshold: float = 0.7,
        margin: float = 1.0,
        start_epoch: int = 0,
        gamma_neg: float = 3.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        batch_size: int = 32,
        weight_exponent: float = 1 / 6,
        eps: float = 1e-8,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        check(threshold=(threshold, 'in [0, 1)'), margin=(margin, '>= 0'), start_epoch=(start_epoch, 'int >= 0'))
        check(gamma_neg=(gamma_neg, '>= 0'), gamma_pos=(gamma_pos, '>= 0'))
        check(clip=(clip, 'in [0, 1)'), eps=(eps, 'in (0, 1)'))
        check(batch_size=(batch_size, '>= 0'), weight_exponent=(weight_exponent, '>= 0'))
        self.threshold, self.margin, self.start_epoch = threshold, margin, start_epoch
        self.batch_size, self.weight_exponent = batch_size, weight_exponent
        self.constants = dict(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, eps=eps)
        super().__init__(reduction=reduction, **kwargs)

    @property
    def needs_whole_batch(self) -> bool:
        return True

    def init_class_distribution(self, *args: Any) -> None:
        self.register_buffer('recalled', torch.zeros(0, dtype=torch.int64))
        super().init_class_distribution(*args)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('counts', torch.tensor(distribution.image_counts))
        if len(self.recalled) != len(self.counts):
            self.recalled = torch.zeros_like(self.counts, dtype=torch.int64)

    def set_progress(self, epoch: int, max_epochs: int, iter: int | None = None, max_iters: int | None = None) -> None:
        if self._progress.get('epoch') != epoch:  # recalled labels are of one epoch
            self.recalled.zero_()
        super().set_progress(epoch, max_epochs, iter, max_iters)

    @property
    def class_weight(self) -> Tensor:
        """Weights from the counts with the recalled labels, float64, (C,)."""
        return scarcity_weight(self.counts + self.recalled, self.weight_exponent)

    def unreduced(self, cls_score: Tensor, target: Tensor) -> Tensor:
        return self.unreduced_partial(cls_score, target, torch.ones_like(target))

    def unreduced_partial(self, cls_score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        if self.epoch < self.start_epoch:
            return cls_score * 0
        cls_score = cls_score - self.margin * target
        with torch.no_grad():
            corrected, num_positives = self._correct(cls_score, target)
        class_weight = self.class_weight.to(cls_score)
        loss = multi_focal_loss(cls_score, corrected, class_weight, **self.constants)
        return loss * (self.batch_size / num_positives * torch.maximum(known, corrected))

    def _correct(self, cls_score: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the corrected targets, (N, C), and their number of positives on all ranks; count the recalled.

        Args:
            cls_score: Logits, (N, C).
            target: 1 positive, 0 negative or unknown, (N, C).
        """
        score = cls_score.sigmoid()  # (N, C)
        total = torch.cat([score.sum(dim=0), score.new_tensor([len(score)])])  # (C + 1,)
        all_reduce(total)
        mean_score = total[:-1] / total[-1].clamp(min=1)  # (C,)
        corrected = torch.where(score > mean_score.clamp(min=self.threshold), 1, target)  # (N, C)
        recalled = (corrected - target).sum(dim=0)  # (C,)
        found = torch.cat([recalled, corrected.sum()[None]])  # (C + 1,)
        all_reduce(found)
        if self.training:
            self.recalled += found[:-1].long()
        return corrected, found[-1].clamp(min=1)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        value = state_dict.get(f'{prefix}recalled')
        if value is not None:
            if self._num_classes in (None, len(value)):
                self.recalled = torch.zeros_like(value, device=self.recalled.device)
            else:  # a new head on old features
                state_dict[f'{prefix}recalled'] = self.recalled
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return (
            f'threshold={self.threshold}, margin={self.margin}, start_epoch={self.start_epoch}, {super().extra_repr()}'
        )
