"""Losses of box heads with several experts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError

from ..base import at_least_float32, cosine_scale, divisor, mean_over_ranks
from ..build import build_loss
from ..expert import ExpertLoss
from ..objective import LossInputs
from .base import BoxHeadLoss, build_detection_loss

__all__ = ['RoIExpertLoss', 'RoILossPerExpert']


class RoILossOfExperts(BoxHeadLoss):
    """Base class of losses of a box head with several experts, whose logits lie side by side."""

    widths: list[int] | None = None  # columns of each expert, (E,)

    @property
    def prior_probs(self) -> list[float | None]:
        """``prior_prob`` of each expert."""
        return [None] * self.num_experts

    def split(self, cls_score: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each expert."""
        name = type(self).__name__
        if self.widths is None:
            raise MissingInputError(f'{name} does not know the number of classes: use it in ltmm.MultiExpertBBoxHead.')
        if cls_score.size(-1) != sum(self.widths):
            raise InputError(f'{name}: expected logits (N, {sum(self.widths)}), but got {tuple(cls_score.shape)}.')
        return cls_score.split(self.widths, dim=-1)


@MODELS.register_module()
class RoIExpertLoss(RoILossOfExperts):
    r"""Brings multi-expert losses of classification, with experts for head and for tail classes, to box heads.

    Each expert has C class logits and two of objectness, object and background, as in Seesaw loss. The expert loss sees
    the class logits of the objects; the objectness of each expert learns from all proposals by cross entropy. Both are
    divided by the number of proposals. The score of a class is its softmax after the aggregation of the experts, times
    the mean objectness.

    Args:
        loss: Loss of several experts, such as ``ltmm.BalPoELoss``, ``ltmm.LGLALoss``, ``ltmm.RIDELoss`` or
            ``ltmm.SADELoss``; the second and third take cosines, ``cls_predictor_cfg=dict(type='ltmm.NormedLinear',
            scale=30)`` of the head.
        num_experts: E.
        aggregation: Module from logits (E, N, C) to (N, C).
    """

    def __init__(
        self, *, loss: nn.Module | dict, num_experts: int, aggregation: dict = dict(type='ltmm.MeanAggregation')
    ) -> None:
        super().__init__()
        self.loss, self.aggregation, self.num_experts = build_loss(loss), MODELS.build(aggregation), num_experts
        name = type(self.loss).__name__
        if not isinstance(self.loss, ExpertLoss):
            raise InputTypeError(f'RoIExpertLoss accepts ExpertLoss, but got {name}.')
        if self.loss.num_views != 1 or 'teacher_logits' in self.loss.requires:
            raise InputTypeError(
                f'RoIExpertLoss: {name} needs several views or a teacher, which proposals do not have.'
            )
        if cosine_scale(self.loss) != 1:
            raise InputTypeError(
                f'RoIExpertLoss: {name} scales the cosines itself, so objectness and scores would not be scaled. '
                'Use a loss whose scale is in the layer, such as ltmm.RIDELoss.'
            )
        for part in (self.loss, self.aggregation):
            expected = getattr(part, 'num_experts', None)  # aggregations of any number of experts have none
            if expected not in (None, num_experts):
                raise InputError(f'{type(part).__name__} is for {expected} experts, but num_experts={num_experts}.')

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of all classifiers together, E (C + 2)."""
        self.widths = [num_classes + 2] * self.num_experts
        return sum(self.widths)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        logits = torch.stack(self.split(cls_score))  # (E, N, C + 2)
        classes = self.aggregation(logits[..., :-2]).softmax(-1)  # (N, C)
        objectness = logits[..., -2:].mean(0).softmax(-1)  # (N, 2)
        return torch.cat([classes * objectness[:, :1], objectness[:, 1:]], dim=1)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Compute the terms of the expert loss and ``loss_objectness``.

        Args:
            cls_score: Logits of all experts, (N, E (C + 2)).
            label: Class indices, (N,); C is background.
            weight: Weight of each proposal, (N,); 0 or one value for all objects.
            avg_factor: Divisor of the mean. Default: N.
            reduction_override: None or ``'mean'``.
        """
        check(reduction_override=(reduction_override, (None, 'mean')))
        cls_score = at_least_float32(cls_score)
        weight = cls_score.new_ones(len(label)) if weight is None else weight.to(cls_score)
        avg_factor = divisor(len(label) if avg_factor is None else avg_factor, cls_score)
        with torch.autocast(cls_score.device.type, enabled=False):
            logits = torch.stack(self.split(cls_score))  # (E, N, C + 2)
            is_background = label == self.widths[0] - 2
            is_object = ~is_background & (weight > 0)
            target = is_background.long().expand(self.num_experts, -1)  # 0 object, 1 background
            objectness = F.cross_entropy(logits[..., -2:].flatten(0, 1), target.flatten(), reduction='none')
            terms = dict(loss_objectness=(objectness.view_as(target) * weight).sum() / avg_factor / self.num_experts)
            return terms | self._class_terms(logits[..., :-2], label, is_object, weight, avg_factor)

    def _class_terms(
        self, logits: Tensor, label: Tensor, is_object: Tensor, weight: Tensor, avg_factor: float | Tensor
    ) -> dict[str, Tensor]:
        """Compute the expert loss, a mean over the objects, and divide it by the number of proposals instead."""
        row = is_object.nonzero().squeeze(1)
        share = mean_over_ranks(weight[row].sum()) / avg_factor
        logits = logits[:, row]
        terms = self.loss(LossInputs(expert_logits=logits, cls_score=self.aggregation(logits), label=label[row]))
        return {name: term * share for name, term in terms.items()}


@MODELS.register_module()
class RoILossPerExpert(RoILossOfExperts):
    """Gives each expert of a box head its own loss, for example one for head and one for tail classes.

    The loss is the mean over the experts, the scores are the mean of their scores. The classifiers may have different
    widths: softmax or sigmoids, with or without background.

    Args:
        losses: Losses of box heads, (E,): those of ltmm, or mmdet's softmax cross entropy or Seesaw loss.
    """

    def __init__(self, *, losses: Sequence[nn.Module | dict]) -> None:
        super().__init__()
        if not losses:
            raise InputError('RoILossPerExpert: expected a loss for each expert, but got none.')
        self.losses = nn.ModuleList(build_detection_loss(loss, 'RoILossPerExpert') for loss in losses)
        self.num_experts = len(losses)

    @property
    def prior_probs(self) -> list[float | None]:
        """``prior_prob`` of each expert."""
        return [loss.prior_prob for loss in self.losses]

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of all classifiers together."""
        self.widths = [loss.get_cls_channels(num_classes) for loss in self.losses]
        return sum(self.widths)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        scores = [loss.get_activation(logits) for loss, logits in zip(self.losses, self.split(cls_score))]
        return torch.stack(scores).mean(0)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Compute ``loss_cls_expert0``, ...; losses with several terms give ``<name of the term>_expert0``, ..."""
        terms = {}
        for e, (loss, logits) in enumerate(zip(self.losses, self.split(cls_score))):
            value = loss(logits, label, weight, avg_factor=avg_factor, reduction_override=reduction_override)
            value = value if isinstance(value, dict) else dict(loss_cls=value)
            terms |= {f'{name}_expert{e}': term / self.num_experts for name, term in value.items()}
        return terms
