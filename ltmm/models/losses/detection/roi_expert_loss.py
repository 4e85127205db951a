"""Losses of box heads with several experts: a classifier for each, one score from all."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

from ..base import at_least_float32
from ..expert import ExpertLoss
from .any_roi_loss import build_roi_loss, cls_channels, roi_scores

__all__ = ['RoIExpertLoss', 'RoILossPerExpert']


class RoILossOfExperts(nn.Module):
    """Base of the two: the logits of all experts lie side by side, each in columns of its own.

    So they pass through mmdet's heads as the logits of a single classifier do. A subclass sets :attr:`widths`.
    """

    fits = ('roi',)
    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True
    widths: list[int] | None = None  # columns of each expert, (E,); None until a head has said C

    @property
    def prior_probs(self) -> list[float | None]:
        """Score of every class at the start of training, for each expert; None where it has no wish."""
        return [None] * self.num_experts

    def split(self, cls_score: Tensor) -> tuple[Tensor, ...]:
        """The logits of each expert.

        Raises:
            RuntimeError: no head has said the number of classes.
            ValueError: logits of another width than the experts have together.
        """
        name = type(self).__name__
        if self.widths is None:
            raise RuntimeError(f'{name} does not know the number of classes: put it into ltmm.MultiExpertBBoxHead.')
        if cls_score.size(-1) != sum(self.widths):
            raise ValueError(f'{name}: expected {sum(self.widths)} logits a row, but got {cls_score.size(-1)}.')
        return cls_score.split(self.widths, dim=-1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of the objects whose highest score of a class is that of theirs, in percent; 0 without any.

        Args:
            cls_score: logits of all experts.
            labels: class indices, (N,); C is background.
        """
        scores = self.get_activation(cls_score)[:, :-1]  # (N, C)
        foreground = labels < scores.size(1)
        return dict(acc_classes=100 * (scores.argmax(1) == labels).sum() / foreground.sum().clamp(min=1))


@MODELS.register_module()
class RoIExpertLoss(RoILossOfExperts):
    r"""Brings the losses of several experts, which know no background, to box heads: what an object is, and whether.

    Each expert has C logits of classes and two of objectness, object and background, as Seesaw has them. The expert
    loss sees the objects alone, on the logits of classes, with its maths unchanged; each objectness learns from all
    proposals by cross entropy. Both are divided by all proposals. The score of a class is its softmax after the
    aggregation of the experts, times that of an object in the mean of the objectnesses.

    Args:
        loss: loss of several experts, such as ``ltmm.RIDELoss``, ``ltmm.BalPoELoss`` or ``ltmm.SADELoss``.
        num_experts: E.
        aggregation: from logits (E, N, C) to (N, C).

    Raises:
        TypeError: a loss of single models, of two views, or one that needs a teacher.
        ValueError: loss or aggregation of another number of experts; at a forward, a reduction other than the mean.
    """

    def __init__(self, loss: dict, num_experts: int, aggregation: dict = dict(type='ltmm.MeanAggregation')) -> None:
        super().__init__()
        self.loss, self.aggregation, self.num_experts = MODELS.build(loss), MODELS.build(aggregation), num_experts
        name = type(self.loss).__name__
        if not isinstance(self.loss, ExpertLoss):
            raise TypeError(f'RoIExpertLoss needs a loss of several experts, such as ltmm.RIDELoss, but got {name}.')
        if self.loss.num_views != 1 or getattr(self.loss, 'needs_teacher', False):
            raise TypeError(f'RoIExpertLoss: {name} needs several views or a teacher, which proposals do not have.')
        for part in (self.loss, self.aggregation):
            if getattr(part, 'num_experts', None) not in (None, num_experts):
                raise ValueError(
                    f'{type(part).__name__} is for {part.num_experts} experts, but num_experts={num_experts}.'
                )
        self.loss.fits = (*self.loss.fits, 'roi')  # in here it does

    def get_cls_channels(self, num_classes: int) -> int:
        """Width of all classifiers together, E (C + 2)."""
        self.widths = [num_classes + 2] * self.num_experts
        return sum(self.widths)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1), the last of background."""
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
        """The terms of the expert loss, and ``loss_objectness``.

        Args:
            cls_score: logits of all experts, (N, E (C + 2)).
            label: class indices, (N,); C is background.
            weight: factor of each proposal, (N,); the objects' must be equal where not 0, as those of mmdet are.
            avg_factor: what the mean divides by; N when left out.
            reduction_override: None or ``'mean'``.
        """
        if reduction_override not in (None, 'mean'):
            raise ValueError(f"RoIExpertLoss: expected the reduction to be 'mean', but got {reduction_override!r}.")
        cls_score = at_least_float32(cls_score)
        weight = cls_score.new_ones(len(label)) if weight is None else weight.to(cls_score)
        avg_factor = max(len(label) if avg_factor is None else avg_factor, 1)
        with torch.autocast(cls_score.device.type, enabled=False):
            logits = torch.stack(self.split(cls_score))  # (E, N, C + 2)
            is_background = label == self.widths[0] - 2
            is_object = ~is_background & (weight > 0)
            target = is_background.long().expand(self.num_experts, -1)  # 0 object, 1 background
            objectness = F.cross_entropy(logits[..., -2:].flatten(0, 1), target.flatten(), reduction='none')
            terms = dict(loss_objectness=(objectness.view_as(target) * weight).sum() / avg_factor / self.num_experts)
            return terms | self._of_objects(logits[..., :-2], label, is_object, weight, avg_factor)

    def _of_objects(
        self, logits: Tensor, label: Tensor, is_object: Tensor, weight: Tensor, avg_factor: float
    ) -> dict[str, Tensor]:
        """The expert loss, a mean over the objects, as a sum over them that is divided by all proposals."""
        row = is_object.nonzero().squeeze(1)
        if len(row):
            share = weight[row].sum() / avg_factor
            return {name: term * share for name, term in self.loss(logits[:, row], label[row]).items()}
        # the terms of a made-up object of the most frequent class, times 0: every batch has the same terms
        frequent = int(self.loss.get_class_distribution().instance_counts.argmax())
        terms = self.loss(F.pad(logits, (0, 0, 0, 1))[:, -1:], label.new_full((1,), frequent))
        return {name: term * 0 for name, term in terms.items()}


@MODELS.register_module()
class RoILossPerExpert(RoILossOfExperts):
    """Gives each expert of a box head a loss of its own, one for the head and one for the tail, say.

    The loss is the mean over the experts, the scores are the mean of theirs. The losses may have classifiers of
    different widths: softmax, sigmoids, with or without background.

    Args:
        losses: any losses of box heads, of ltmm or mmdet, (E,).

    Raises:
        ValueError: no loss.
        TypeError: a loss of sigmoids that mmdet's heads would take a softmax of; or, when the head is built, one that
            takes no logits and labels, or gives no score of background.
    """

    def __init__(self, losses: Sequence[dict]) -> None:
        super().__init__()
        if not losses:
            raise ValueError('RoILossPerExpert: expected a loss for each expert, but got none.')
        self.losses = nn.ModuleList(build_roi_loss(loss, 'RoILossPerExpert') for loss in losses)
        self.num_experts = len(losses)

    @property
    def prior_probs(self) -> list[float | None]:
        """See :class:`RoILossOfExperts`."""
        return [getattr(loss, 'prior_prob', None) for loss in self.losses]

    def get_cls_channels(self, num_classes: int) -> int:
        """Width of all classifiers together."""
        self.widths = [cls_channels(loss, num_classes, 'RoILossPerExpert') for loss in self.losses]
        return sum(self.widths)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1), the last of background."""
        return torch.stack([roi_scores(loss, z) for loss, z in zip(self.losses, self.split(cls_score))]).mean(0)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """``loss_cls_expert0``, ..., or, of losses with several terms, ``<name of the term>_expert0``, ...

        Args:
            cls_score: logits of all experts, side by side.
            label: class indices, (N,); C is background.
            weight: factor of each proposal, (N,).
            avg_factor: what the means divide by.
            reduction_override: of each loss.
        """
        terms = {}
        for e, (loss, logits) in enumerate(zip(self.losses, self.split(cls_score))):
            value = loss(logits, label, weight, avg_factor=avg_factor, reduction_override=reduction_override)
            value = value if isinstance(value, dict) else dict(loss_cls=value)
            terms |= {f'{name}_expert{e}': term / self.num_experts for name, term in value.items()}
        return terms
