"""BalPoE: experts for test sets from head-heavy to tail-heavy, whose mean is for the balanced one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .base import LOG_EPS, ExpertLoss, expert_cross_entropy

__all__ = ['BalPoELoss']


@MODELS.register_module()
class BalPoELoss(ExpertLoss):
    r"""Trains each expert with another strength of logit adjustment, so that their mean favours neither head nor tail.

    .. math:: \frac{1}{E} \sum_e \mathrm{CE}(z_e + \tau_e \log\pi,\, y)

    The mean of the plain logits is the product of the experts; it suits a balanced test set where the mean of the
    :math:`\tau_e` is 1. [0] has each expert calibrated by Mixup, which is
    ``train_cfg=dict(augments=dict(type='Mixup', alpha=0.4))`` of the model: the loss of its soft labels is
    :math:`\lambda L(y) + (1 - \lambda) L(y')`.

    [0] Aimar et al., Balanced Product of Calibrated Experts for Long-Tailed Recognition, CVPR 2023, arXiv 2206.05260.
    [1] github.com/emasa/BalPoE-CalibratedLT @ca607ae, ``BSExpertLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``balpoe``).

    Args:
        taus: strength of each expert, (E,): (0, 1, 2) for CIFAR-LT, (0, 1.25, 2.5) for ImageNet-LT, (-1, 1, 3) for
            iNaturalist in [1].
        **kwargs: class_counts and num_classes of :class:`~ltmm.models.losses.expert.ExpertLoss`.

    Raises:
        ValueError: no strength, one that is not finite, or a head with another number of experts.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    accepts_soft_labels = True

    def __init__(self, taus: Sequence[float] = (0.0, 1.0, 2.0), **kwargs: Any) -> None:
        if not len(taus) or not np.isfinite(taus).all():
            raise ValueError(f'Expected `taus` to be one finite number an expert, but got {taus}.')
        self.taus, self.num_experts = tuple(taus), len(taus)
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep what is added to the logits of each expert."""
        self.register_derived('bias', np.outer(self.taus, np.log(distribution.prior + LOG_EPS)))  # (E, C)

    def terms(self, expert_logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """``loss_expert0``, ``loss_expert1``, ...: a share of each expert."""
        losses = expert_cross_entropy(expert_logits + self.bias.to(expert_logits).unsqueeze(1), label)
        return {f'loss_expert{e}': loss / self.num_experts for e, loss in enumerate(losses)}

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'taus={self.taus}'
