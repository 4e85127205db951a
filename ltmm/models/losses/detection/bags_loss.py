"""Balanced group softmax: classes compete only with classes that have about as many objects."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch, gather_with_own
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import at_least_float32, reduce_loss
from ..class_weights import takes_no_class_weight
from .base import BoxHeadLoss, check_num_classes, missing_num_classes_error

__all__ = ['BalancedGroupSoftmaxLoss', 'group_softmax_loss', 'sample_others']


def group_softmax_loss(logits: Sequence[Tensor], target: Tensor) -> Tensor:
    """Compute the cross entropy of each group, (N, G).

    Args:
        logits: Of each group, (G,) tensors (N, columns of the group).
        target: Column of each proposal within each group, (N, G).
    """
    losses = [F.cross_entropy(z, label, reduction='none') for z, label in zip(logits, target.unbind(1), strict=True)]
    return torch.stack(losses, dim=1)


@torch.no_grad()
def sample_others(target: Tensor, weight: Tensor, beta: float) -> Tensor:
    """Select all objects of each group, and at random at most ``beta`` others per object, as a mask (N, G).

    The objects are those of all ranks, and so are the others that are drawn from.

    Args:
        target: Column of each proposal within each group, (N, G); 0 for others.
        weight: Weight of each proposal, (N,); those of weight 0 are left out.
        beta: Others per object.
    """
    order = torch.rand(target.shape, device=target.device).masked_fill_(target > 0, -1)  # objects first
    order.masked_fill_((weight <= 0).unsqueeze(1), torch.inf)
    (all_order,), own = gather_with_own(order)
    num_objects = (all_order < 0).sum(0).double()  # (G,)
    rank = all_order.argsort(0).argsort(0)[own]
    return (rank < num_objects + (beta * num_objects).floor()) & order.isfinite()


@MODELS.register_module()
@takes_no_class_weight('its groups balance the classes.')
class BalancedGroupSoftmaxLoss(NeedsWholeBatch, UsesClassDistribution, BoxHeadLoss):
    r"""Groups classes by their training instances, so that head classes give tail classes no negative gradients (BAGS).

    Each group has a softmax over its classes and a column for all others; a last softmax tells objects from background:

    .. math::
        L = \sum_g \frac{\sum_i w_{ig} \, \mathrm{CE}(z_{ig}, y_{ig})}{\max(\sum_i w_{ig}, 1)}, \qquad
        \mathrm{score}_{ic} = \mathrm{softmax}(z_{ig})_c \, P_i(\mathrm{object}), \quad c \in g

    y_ig is the class of proposal i if it is in group g, else others. w_ig is 1 for the objects of g and for at most
    ``beta`` times as many others, drawn at random in each iteration, else 0: a group without objects in the batch
    learns nothing. The softmax of objectness takes all proposals. Objects and others are those of all ranks.

    The classifier has C + G + 2 columns: the classes in label order, the others of G groups, object and background. The
    terms are ``loss_cls_group0`` (the rarest) and so on, and ``loss_cls_objectness``. A class without instances is in
    the rarest group. A group without classes has no effect and gives a warning.

    [0] Li et al., Overcoming Classifier Imbalance for Long-Tail Object Detection with Balanced Group Softmax, CVPR
        2020, arXiv 2006.10408.
    [1] github.com/FishYuLi/BalancedGroupSoftmax @90e04fd. Reproduces [1] to 1e-6 (tests/conformance,
        ``trajectory_bags``), and ``GroupSoftmax`` of github.com/tztztztztz/eqlv2 @907fad9 (``bags``), up to the order
        of the columns.

    Args:
        group_bounds: Ascending numbers of instances; group g has the classes from bound g - 1 on and below bound g.
        beta: Others per object of a group; 8 in [0].
        loss_weight: Weight of the loss.
        class_counts: Training instances per class. Default: taken from the training data.
        num_classes: C, to check the counts against; heads of ltmm fill it in.
    """

    background_hint = ' Leave the background class out.'

    def __init__(
        self,
        *,
        group_bounds: Sequence[int] = (10, 100, 1000),
        beta: float = 8.0,
        loss_weight: float = 1.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check(
            group_bounds=(group_bounds, 'a list of int >= 1'),
            beta=(beta, '> 0'),
            loss_weight=(loss_weight, '>= 0'),
        )
        if any(low >= high for low, high in itertools.pairwise(group_bounds)):
            raise InputError(f'Expected `group_bounds` to be an ascending list, but got {group_bounds}.')
        self.group_bounds, self.beta, self.loss_weight = tuple(group_bounds), beta, loss_weight
        self.num_columns: int | None = None
        self.init_class_distribution(class_counts, num_classes)

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the width of the classifier, C + G + 2."""
        check_num_classes(type(self).__name__, num_classes, self._num_classes)
        self._num_classes = num_classes
        self.num_columns = num_classes + len(self.group_bounds) + 3
        return self.num_columns

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        num_classes, num_groups = len(distribution), len(self.group_bounds) + 1
        group = np.searchsorted(self.group_bounds, distribution.instance_counts, side='right')  # (C,)
        self._warn_of_empty(np.bincount(group, minlength=num_groups))
        target = np.zeros((num_groups + 1, num_classes + 1), dtype=np.int64)
        target[-1, -1] = 1
        columns = []
        for g in range(num_groups):
            members = np.flatnonzero(group == g)
            target[g, members] = np.arange(len(members)) + 1
            columns.append(np.array([num_classes + g, *members]))
        columns.append(num_classes + num_groups + np.arange(2))
        self.group_sizes = [len(part) for part in columns]
        device = self.class_distribution.num_images.device
        for name, value in (('group_columns', np.concatenate(columns)), ('group_target', target.T)):
            self.register_buffer(name, torch.tensor(value, device=device), persistent=False)

    def _warn_of_empty(self, sizes: np.ndarray) -> None:
        names = [f'{low} to {high - 1}' for low, high in itertools.pairwise((0, *self.group_bounds))]
        names.append(f'{self.group_bounds[-1]} or more')
        empty = [name for name, size in zip(names, sizes) if size == 0]
        if empty:
            warnings.warn(
                f'BalancedGroupSoftmaxLoss: no class has {" or ".join(empty)} training instances, so these groups have '
                f'no effect; classes per group: {sizes.tolist()}. Set `group_bounds`, now {self.group_bounds}.',
                stacklevel=2,
            )

    def group_logits(self, cls_score: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each group, others first, and those of object and background, at least float32.

        Args:
            cls_score: Logits, (N, C + G + 2).
        """
        self.get_class_distribution()  # raises without one
        if cls_score.dim() != 2 or cls_score.size(1) != len(self.group_columns):
            raise InputError(
                f'BalancedGroupSoftmaxLoss: expected logits (N, {len(self.group_columns)}), but got '
                f'{tuple(cls_score.shape)}: the classifier of this head does not ask the loss for its width.'
            )
        return at_least_float32(cls_score)[:, self.group_columns].split(self.group_sizes, dim=1)

    def sample(self, target: Tensor, weight: Tensor) -> Tensor:
        """Select the proposals that each group learns from, (N, G + 1); see :func:`sample_others`."""
        groups = sample_others(target[:, :-1], weight, self.beta)
        return torch.cat([groups, (weight > 0).unsqueeze(1)], dim=1)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss of each group and that of objectness.

        Args:
            cls_score: Logits, (N, C + G + 2).
            label: Class indices, (N,); C is background.
            weight: Weight of each proposal, (N,).
            avg_factor: Of mmdet's heads; each group divides by the weights of its own proposals instead.
            reduction_override: None or ``'mean'``.
        """
        if self.num_columns is None:
            raise missing_num_classes_error('BalancedGroupSoftmaxLoss')
        check(reduction_override=(reduction_override, (None, 'mean')))
        with torch.autocast(cls_score.device.type, enabled=False):
            logits = self.group_logits(cls_score)
            target = self.group_target[label]  # (N, G + 1)
            weight = logits[0].new_ones(len(label)) if weight is None else weight.to(logits[0])
            selected = self.sample(target, weight) * weight.unsqueeze(1)
            losses = group_softmax_loss(logits, target).unbind(1)
            means = [reduce_loss(each, w, avg_factor=w.sum()) for each, w in zip(losses, selected.unbind(1))]
        names = [*(f'group{g}' for g in range(len(means) - 1)), 'objectness']
        return {f'loss_cls_{name}': self.loss_weight * mean for name, mean in zip(names, means)}

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return scores (N, C + 1): the softmax within the group times that of object; the last is background."""
        logits = self.group_logits(cls_score)
        prob = torch.cat([z.softmax(1) for z in logits], dim=1)
        prob = torch.empty_like(prob).index_copy_(1, self.group_columns, prob)
        num_classes = self.group_target.size(0) - 1
        return torch.cat([prob[:, :num_classes] * prob[:, -2:-1], prob[:, -1:]], dim=1)

    def extra_repr(self) -> str:
        return f'group_bounds={self.group_bounds}, beta={self.beta}, loss_weight={self.loss_weight}'
