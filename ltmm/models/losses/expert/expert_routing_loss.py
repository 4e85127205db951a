"""RIDE's expert assignment: learn which samples need a further expert."""

import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import check_soft_labels, divisor
from ..objective import LossInputs, Objective

__all__ = ['ExpertRoutingLoss', 'needs_next_expert']


def needs_next_expert(expert_logits: Tensor, label: Tensor) -> Tensor:
    """Tell after which experts the mean prediction is wrong, and right after a later one, (E - 1, N).

    Args:
        expert_logits: (E, N, C).
        label: Class indices, (N,).
    """
    is_right = expert_logits.cumsum(0).argmax(-1) == label  # (E, N): after 1, 2, ... experts
    num_right_later = is_right[1:].flip(0).cumsum(0).flip(0)
    return ~is_right[:-1] & (num_right_later > 0)


@MODELS.register_module()
class ExpertRoutingLoss(Objective):
    r"""Teaches a router to ask for a further expert where it corrects the prediction, as it often does on the tail.

    .. math::
        \frac{1}{E - 1} \sum_{e < E} \mathrm{BCE}_w(r_e, t_e), \qquad
        t_e = \Big[\arg\max \sum_{i \le e} z_i \ne y = \arg\max \sum_{i \le f} z_i \text{ for an } f > e\Big]

    The scores r come from :class:`ltmm.models.ExpertRoutingHead`; w multiplies the loss of the targets 1, which are
    rare among training images.

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``ea_resnet_cifar.py``.

    Args:
        pos_weight: w; 20 for CIFAR-LT in [1].
    """

    requires = ('expert_logits', 'router_logits')
    accepts_soft_labels = False

    def __init__(self, *, pos_weight: float = 20.0) -> None:
        super().__init__()
        check(pos_weight=(pos_weight, '> 0'))
        self.pos_weight = pos_weight

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        scores = inputs.router_logits  # (E - 1, N)
        target = needs_next_expert(inputs.expert_logits, inputs.label).to(scores)
        weight = scores.new_tensor(self.pos_weight)
        loss = F.binary_cross_entropy_with_logits(scores, target, pos_weight=weight, reduction='none').mean(0)
        return dict(loss_routing=loss.sum() / divisor(len(loss), loss))

    def _check(self, inputs: LossInputs) -> None:
        check_soft_labels(self, inputs.label)

    def extra_repr(self) -> str:
        return f'pos_weight={self.pos_weight}'
