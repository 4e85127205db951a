"""COMIC's reflective label corrector: what the network is sure of becomes a label, and the class counts follow."""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS

from .asl_loss import check_asymmetric
from .base import MultiLabelPriorLoss
from .multi_focal import multi_focal, scarcity_weight

__all__ = ['ReflectiveLabelCorrectorLoss']


@MODELS.register_module()
class ReflectiveLabelCorrectorLoss(UsesProgress, MultiLabelPriorLoss):
    r"""Turns negatives the network is sure are positives into positives, and weighs classes by what it then counts.

    With p the sigmoid of the logits (less a margin on positives), a label becomes positive where p > ``threshold`` and
    p > the mean of p of its class over the batch. The recalled labels of the epoch are added to the class counts n,
    from which, before the loss is formed,

    .. math:: L = -\frac{B}{P} \sum_c \omega_c \left[ y'_c \log p_c + (1 - y'_c)
              (1 - \tilde q_c)^{\gamma^- + \omega_c} \log \tilde q_c \right], \qquad
              \omega_c = (1 - \log (n'_c / \max n'))^{1/6}, \quad \tilde q = \min(1 - p + m, 1)

    (for :math:`\gamma^+ = 0`), with P positives after the correction, and B = ``batch_size``. Before ``start_epoch``
    the loss is 0. Unknown labels that are not recalled have no part in the loss; a class without images has weight 0
    until one is recalled; a batch without positives counts as one with a single positive.

    The mean scores, P and the recalled labels are those of the batches of all ranks: several processes learn as one
    does from the union of their batches. In evaluation mode nothing is counted.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``ReflectiveLabelCorrectorLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``comic_rlc``).

    Args:
        threshold: between 0 and 1.
        margin: taken off the logits of positives.
        start_epoch: first epoch with this loss, counted from 0.
        gamma_neg: :math:`\gamma^-`.
        gamma_pos: :math:`\gamma^+`.
        clip: m.
        batch_size: B: the batch size of [1], not that of the data.
        weight_exponent: of the class weights.
        eps: smallest argument of the logarithm.
        reduction: see :class:`~ltmm.models.losses.multi_label.base.MultiLabelLoss`; [1] takes the sum.
        **kwargs: loss_weight, class_counts and num_classes of
            :class:`~ltmm.models.losses.multi_label.base.MultiLabelPriorLoss`.

    Attributes:
        recalled: labels of each class recalled in this epoch by all ranks, int64, (C,); in the checkpoint.

    Raises:
        ValueError: a number out of range: ``threshold`` and ``clip`` are in [0, 1), ``eps`` in (0, 1), ``start_epoch``
            is a whole number, and all are at least 0.
        RuntimeError: at a forward before the epoch or the class distribution is known; the message names the hook.
    """

    accepts_unknown = True
    gives_total = True

    def __init__(
        self,
        threshold: float = 0.7,
        margin: float = 1.0,
        start_epoch: int = 1,
        gamma_neg: float = 3.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        batch_size: int = 32,
        weight_exponent: float = 1 / 6,
        eps: float = 1e-8,
        reduction: str = 'sum',
        **kwargs: Any,
    ) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f'Expected `threshold` to be in [0, 1), but got {threshold}.')
        gammas = dict(gamma_neg=gamma_neg, gamma_pos=gamma_pos)
        check_asymmetric(clip, eps, **gammas, margin=margin, batch_size=batch_size, weight_exponent=weight_exponent)
        if isinstance(start_epoch, bool) or not isinstance(start_epoch, int) or start_epoch < 0:
            raise ValueError(f'Expected `start_epoch` to be a whole number of at least 0, but got {start_epoch!r}.')
        self.threshold, self.margin, self.start_epoch = threshold, margin, start_epoch
        self.gamma_neg, self.gamma_pos, self.clip = gamma_neg, gamma_pos, clip
        self.batch_size, self.weight_exponent, self.eps = batch_size, weight_exponent, eps
        super().__init__(reduction=reduction, **kwargs)

    def init_class_distribution(self, *args: Any) -> None:
        """Also make room for what is recalled."""
        self.register_buffer('recalled', torch.zeros(0, dtype=torch.int64))
        super().init_class_distribution(*args)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('counts', torch.tensor(distribution.image_counts))
        if len(self.recalled) != len(self.counts):
            self.recalled = torch.zeros_like(self.counts, dtype=torch.int64)

    def set_progress(self, epoch: int, max_epochs: int, iter: int | None = None, max_iters: int | None = None) -> None:
        """Forget at a new epoch what the one before recalled."""
        if self._progress.get('epoch') != epoch:
            self.recalled.zero_()
        super().set_progress(epoch, max_epochs, iter, max_iters)

    @property
    def class_weight(self) -> Tensor:
        """Weights by the counts with what is recalled, float64, (C,)."""
        return scarcity_weight(self.counts + self.recalled, self.weight_exponent)

    def unreduced(self, cls_score: Tensor, target: Tensor, total: bool = False) -> Tensor:
        if self.epoch < self.start_epoch:
            return (cls_score * 0).sum() if total else cls_score * 0
        observed = target.clamp(min=0)  # (N, C)
        cls_score = torch.sub(cls_score, observed, alpha=self.margin)
        with torch.no_grad():
            target, num_positives = self._correct(cls_score, target, observed.sum(dim=0))
        return multi_focal(
            cls_score,
            target,
            self.class_weight.to(cls_score),
            gamma_neg=self.gamma_neg,
            gamma_pos=self.gamma_pos,
            clip=self.clip,
            eps=self.eps,
            factor=self.batch_size / num_positives,
            total=total,
        )

    def _correct(self, cls_score: Tensor, target: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The corrected targets, (N, C), and how many positives they hold, on the average of all ranks.

        Args:
            cls_score: logits, (N, C).
            target: 1 positive, 0 negative, -1 unknown, (N, C).
            before: how many positives each class has, (C,).
        """
        score = cls_score.sigmoid()  # (N, C)
        total = torch.cat([score.sum(dim=0), score.new_tensor([len(score)])])  # (C + 1,)
        all_reduce(total)
        mean_score = total[:-1] / total[-1].clamp(min=1)  # (C,)
        above = score.sub_(mean_score.clamp(min=self.threshold))
        corrected = F.threshold_(above, 0, -1).sign_().maximum(target)  # (N, C), 1 for what is above
        after = corrected.clamp(min=0).sum(dim=0)  # (C,)
        found = torch.cat([after - before, after.sum()[None]])  # (C + 1,)
        all_reduce(found)
        if self.training:
            self.recalled += found[:-1].long()
        return corrected, (found[-1] / get_world_size()).clamp(min=1)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        value = state_dict.get(f'{prefix}recalled')
        if value is not None:
            if self._num_classes in (None, len(value)):
                self.recalled = torch.zeros_like(value, device=self.recalled.device)
            else:  # a new head on old features
                state_dict[f'{prefix}recalled'] = self.recalled
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'threshold={self.threshold}, margin={self.margin}, start_epoch={self.start_epoch}, {super().extra_repr()}'
        )
