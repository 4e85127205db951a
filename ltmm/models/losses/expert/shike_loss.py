"""SHIKE: experts that learn from each other and keep down the most confusing wrong class."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import divisor
from ..objective import LossInputs
from .base import ExpertLoss, expert_cross_entropy, kl_divergence
from .ncl_loss import mutual_divergence

__all__ = ['SHIKELoss', 'hard_category_logits']


def hard_category_logits(expert_logits: Tensor, label: Tensor, target_fill: float) -> tuple[Tensor, Tensor]:
    """Merge the experts' logits of the wrong classes: their maximum, but the mean for the hardest, most likely class.

    Args:
        expert_logits: z, (E, N, C).
        label: Class indices, (N,).
        target_fill: Logit of the right class, while the hardest is looked for and in the logits of each expert.

    Returns:
        The merged logits, (N, C), in which the right class has 0, and those of each expert, (E, N, C).
    """
    wrong = expert_logits.scatter(2, label.expand(len(expert_logits), -1).unsqueeze(2), target_fill)
    mean = wrong.mean(0)  # (N, C)
    hardest = mean.argmax(1, keepdim=True)
    merged = expert_logits.max(0).values.scatter(1, label.unsqueeze(1), 0.0)
    return merged.scatter(1, hardest, mean.gather(1, hardest)), wrong


@MODELS.register_module()
class SHIKELoss(ExpertLoss):
    r"""Trains experts that learn from each other and keep down the hardest wrong class, for the tail a frequent one.

    .. math::
        \sum_e \Big[ \mathrm{CE}(z_e, y) + \frac{\alpha}{C} \mathrm{KL}(\mathrm{softmax}(r) \,\|\, g_e)
        + \frac{\beta}{C} \sum_{j \ne e} \mathrm{KL}(p_j \,\|\, p_e) \Big], \qquad p_e = \mathrm{softmax}(z_e)

    where :math:`g_e` is the softmax of :math:`z_e` with ``target_fill`` as the logit of the right class. The reference
    r has the highest logit of all experts for each wrong class, but only their mean for the hardest one. As in [1], r
    has the logit 0 for the right class, the divergences are divided by the number of classes, and nothing is detached.

    The loss does not balance the classes: new classifiers do in a second stage, on the frozen backbone, with
    ``dict(type='ltmm.PerExpertLoss', loss=dict(type='ltmm.BalancedSoftmaxLoss'))``; see
    ``configs/cifar100_lt/shike_r32.py``.

    [0] Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge Excavation,
        CVPR 2023, arXiv 2304.01279.
    [1] github.com/jinyan-06/SHIKE @2b04b62, ``mix_outputs``. Reproduces [1] to 1e-6
        (tests/conformance, ``shike`` and ``trajectory_shike``).

    Args:
        hard_weight: alpha.
        mutual_weight: beta.
        target_fill: Logit of the right class in :math:`g_e`, below those of a cosine classifier with scale 30.
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    uses_prior = False

    def __init__(
        self, *, hard_weight: float = 10.0, mutual_weight: float = 1.0, target_fill: float = -30.0, **kwargs: Any
    ) -> None:
        check(
            hard_weight=(hard_weight, '>= 0'),
            mutual_weight=(mutual_weight, '>= 0'),
            target_fill=(target_fill, 'finite'),
        )
        self.hard_weight, self.mutual_weight, self.target_fill = hard_weight, mutual_weight, target_fill
        super().__init__(**kwargs)

    @property
    def balances_classes(self) -> bool:
        return self.class_weighting is not None

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label = inputs.expert_logits, inputs.label
        losses = expert_cross_entropy(logits, label, class_factor=self.class_factor(logits))
        merged, wrong = hard_category_logits(logits, label, self.target_fill)
        size = logits.size(2) * divisor(len(label), logits)
        hard = self.weighted(kl_divergence(merged, wrong), label).sum() / size
        mutual = self.weighted(mutual_divergence(logits, eps=0.0), label).sum() / size
        return {f'loss_expert{e}': loss for e, loss in enumerate(losses)} | dict(
            loss_hard=self.hard_weight * hard, loss_mutual=self.mutual_weight * mutual
        )

    def extra_repr(self) -> str:
        return f'hard_weight={self.hard_weight}, mutual_weight={self.mutual_weight}, target_fill={self.target_fill}'
