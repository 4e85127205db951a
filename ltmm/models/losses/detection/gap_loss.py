"""GAP, the ranking loss of ROG: rank every object above all negatives."""

from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ltmm.models.state.base import gather_with_own
from ltmm.models.state.running_sums import RunningCounts
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import InnerLoss, at_least_float32

__all__ = ['GAPLoss', 'gap_class_weight', 'gap_loss']

CHUNK = 2**20  # logits per block


def gap_class_weight(counts: Tensor, gamma: float) -> Tensor:
    r"""Compute :math:`n_c^{-\gamma}` from the counts, (C,), scaled to mean 1; a count of 0 is taken as 1."""
    weight = counts.clamp(min=1) ** -gamma
    return weight * (len(weight) / (weight.sum() + 1e-9))


def gap_loss(cls_score: Tensor, label: Tensor, class_weight: Tensor, delta: float, per_rank: bool = False) -> Tensor:
    """Compute the ranking error, a mean over the objects of a class and over the classes present; 0 without objects.

    The gradient is assigned, not derived, see :class:`GAPLoss`. Time is O(N C log P) for P objects; memory is one
    integer per logit beside the gradient. Ranks exchange the scores of their objects and 4 P sums over their negatives.

    Args:
        cls_score: Logits, (N, C), float32 or float64.
        label: Class indices, (N,); C is background.
        class_weight: Weight of the gradient of each class, (C,).
        delta: Half the width of the ramp that smooths the step function.
        per_rank: Rank the objects of each rank against its own logits only.
    """
    return _GAP.apply(cls_score, label, class_weight, delta, per_rank)


class _GAP(Function):
    """Autograd function of :func:`gap_loss`; the forward computes the gradient too."""

    @staticmethod
    def forward(
        ctx: Any, cls_score: Tensor, label: Tensor, class_weight: Tensor, delta: float, per_rank: bool
    ) -> Tensor:
        loss, grad = _loss_and_grad(cls_score, label, class_weight.double(), delta, per_rank)
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_output, None, None, None, None


def _loss_and_grad(
    score: Tensor, label: Tensor, class_weight: Tensor, delta: float, per_rank: bool
) -> tuple[Tensor, Tensor]:
    """The loss, of all ranks, and its gradient (N, C) for the logits of this one, times the number of ranks."""
    world_size = 1 if per_rank else get_world_size()
    row = (label < score.size(1)).nonzero().squeeze(1)  # of the objects of this rank
    label = label[row]
    mine, objects = (row, label), slice(None)
    own = score[mine]  # (P,)
    if world_size > 1:
        (own, label), objects = gather_with_own(own, label)  # P is the number of objects of all ranks from here on
    if not len(own):
        return score.sum() * 0, torch.zeros_like(score)
    knots, order = torch.cat([own - delta, own + delta]).sort()  # where the ramps of the objects start and end, (2 P,)
    start, end = order.argsort().chunk(2)  # places of the start and the end of each ramp, (P,)
    own, num_places = own.double(), len(knots) + 1

    chunks = score.split(max(CHUNK // score.size(1), 1))
    place = torch.cat([torch.bucketize(s.contiguous(), knots, out_int32=True) for s in chunks])  # (N, C), 0 to 2 P
    own_place = torch.bucketize(own.to(score), knots, out_int32=True).long()
    place[mine] = 0  # below all ramps: an object is no negative
    places = [p.flatten() for p in place.split(len(chunks[0]))]
    num = sum(torch.bincount(p, minlength=num_places) for p in places)  # (2 P + 1,)
    total = sum(_sum_by_place(p, s.double().flatten(), num_places) for p, s in zip(places, chunks))
    if world_size > 1:
        all_reduce(num)
        all_reduce(total)
    num, total = num.cumsum(0), _cumsum(total)
    negatives = _ramp(num[-1] - num[end], num[end] - num[start], total[end] - total[start], own, delta)  # F, (P,)

    key, by_class = (label * num_places + own_place).sort()  # the objects of a class side by side, by place
    upto = torch.cat([own.new_zeros(1), _cumsum(own[by_class])])  # (P + 1,)
    first, stop, last = (torch.searchsorted(key, label * num_places + p, right=True) for p in (start, end, len(knots)))
    peers = _ramp(last - stop, stop - first, upto[stop] - upto[first], own, delta)  # R+, (P,): at least 1/2, of itself

    per_class = torch.bincount(label, minlength=score.size(1))  # (C,)
    share = 1 / (per_class[label] * (per_class > 0).sum()).double()  # (P,), sum 1
    rank = peers + negatives
    error = share * negatives / rank
    push = torch.where(negatives > 1e-10, world_size * class_weight[label], 0.0)  # (P,); DDP averages

    # On the negatives it is a line between two knots, without jumps: the sum of the ramps, each weighted.
    slope = own.new_zeros(num_places)
    bend = push * share / rank / (2 * delta)
    slope[1:-1] = _cumsum(torch.cat([bend, -bend])[order])[:-1].clamp(min=0)
    knots = knots.double()
    offset = torch.cat([own.new_zeros(2), _cumsum(slope[1:-1] * knots.diff())])  # its value where the line starts
    offset[1:] -= slope[1:] * knots
    grads = (offset.index_select(0, p) + slope.index_select(0, p) * s.flatten() for p, s in zip(places, chunks))
    grad = torch.cat([g.to(score).view(-1, score.size(1)) for g in grads])  # (N, C)
    grad[mine] = (-push * error)[objects].to(score)
    return (error.sum() + total[-1] * 0).to(score), grad


def _sum_by_place(place: Tensor, value: Tensor, num_places: int) -> Tensor:
    """Sum of the values of each place, (num_places,)."""
    if torch.are_deterministic_algorithms_enabled():  # bincount with weights refuses there to run on a GPU
        return value.new_zeros(num_places).index_add_(0, place, value)
    return torch.bincount(place, value, num_places)


def _cumsum(value: Tensor) -> Tensor:
    """Running sums, (M,); with deterministic algorithms the CPU makes them, as cumsum refuses there to run on a GPU."""
    if torch.are_deterministic_algorithms_enabled():
        return value.cpu().cumsum(0).to(value.device)
    return value.cumsum(0)


def _ramp(num_above: Tensor, num_within: Tensor, sum_within: Tensor, own: Tensor, delta: float) -> Tensor:
    """Sum over scores x of clip((x - s) / (2 delta) + 1/2, 0, 1) for each s of ``own``, (P,).

    Args:
        num_above: scores above s + delta, (P,).
        num_within: scores between s - delta and s + delta, (P,).
        sum_within: sum of those, (P,).
        own: s, (P,), float64.
        delta: half the width of the ramp.
    """
    within = (sum_within - num_within * own) / (2 * delta) + num_within.double() / 2
    return num_above + torch.where(num_within > 0, within.clamp(min=0), 0.0)


@MODELS.register_module()
class GAPLoss(InnerLoss):
    r"""Ranks every object above all negatives of the batch, of whatever class, with larger gradients for rarer classes.

    An object i of class m, with logit s_i for m, has the ranking error

    .. math::
        \frac{F_i}{R^+_i + F_i}, \qquad
        F_i = \sum_{x \in N} H(x - s_i), \quad R^+_i = \sum_{j \in P_m} H(s_j - s_i), \quad
        H(d) = \mathrm{clip}\Big(\frac{d}{2 \delta} + \frac{1}{2}, 0, 1\Big)

    N are all logits of the batch that are not an object's for its own class: those of background, and those of objects
    for other classes, so that classes are ranked against each other. P_m are the objects of class m. The loss is the
    mean over the classes in the batch of the mean error of their objects. Its gradient is not the derivative but
    assigned, as errors that are passed on: with :math:`c_m = w_m / (|P_m| |K|)` for K classes in the batch, s_i is
    pushed up by :math:`c_m F_i / R_i`, and each x in N down by :math:`c_m H(x - s_i) / R_i`, in sum as much. The
    weights :math:`w_c \propto n_c^{-\gamma}`, mean 1, with the running counts n of the proposals of each class, are in
    the gradient alone, and so is ``loss_weight``: the value, which is logged, is the plain error, as in [1]. The counts
    are added up over all ranks and saved. The batch is that of all ranks; in [1] each rank counts and ranks its own, as
    ``per_rank`` does with the ranking.

    [0] Zhang et al., Reconciling Object-Level and Global-Level Objectives for Long-Tail Detection, ICCV 2023.
    [1] github.com/EricZsy/ROG @1dad3cf, ``GAPLoss``. Reproduces [1] to 1e-6, value and gradient
        (tests/conformance, ``rog_gap``).

    Args:
        num_classes: C; :class:`ROGLoss` fills it in.
        gamma: Strength of the class weights.
        delta: Half the width of the ramp H, in logits.
        loss_weight: Factor of the gradient; ``lam`` in [1].
        per_rank: Rank the objects of each rank against its own logits only.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        gamma: float = 1.0,
        delta: float = 0.5,
        loss_weight: float = 0.1,
        per_rank: bool = False,
    ) -> None:
        super().__init__()
        check(
            num_classes=(num_classes, 'int >= 1'),
            delta=(delta, '> 0'),
            gamma=(gamma, '>= 0'),
            loss_weight=(loss_weight, '>= 0'),
        )
        self.num_classes, self.gamma, self.delta, self.loss_weight = num_classes, gamma, delta, loss_weight
        self.per_rank = per_rank
        self.seen = RunningCounts(num_classes + 1)

    def forward(self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            cls_score: Logits, (N, C) or wider; columns after the C classes are ignored.
            label: Class indices, (N,); C is background.
            weight: (N,); rows of weight 0 are left out, other weights make no difference.
        """
        if cls_score.dim() != 2 or cls_score.size(1) < self.num_classes:
            raise InputError(
                f'GAPLoss: expected logits of shape (N, {self.num_classes}) or wider, but got {tuple(cls_score.shape)}.'
            )
        self.seen.update(label)
        score = cls_score[:, : self.num_classes]
        if weight is not None:
            score, label = score[weight > 0], label[weight > 0]
        score = at_least_float32(score)
        with torch.autocast(score.device.type, enabled=False):
            class_weight = self.loss_weight * gap_class_weight(self.seen.counts[:-1], self.gamma)
            return gap_loss(score, label, class_weight, self.delta, self.per_rank)

    def extra_repr(self) -> str:
        names = ('num_classes', 'gamma', 'delta', 'loss_weight', 'per_rank')
        return ', '.join(f'{name}={getattr(self, name)}' for name in names)
