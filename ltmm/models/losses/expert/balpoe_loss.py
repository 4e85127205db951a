"""BalPoE: experts with different strengths of logit adjustment, whose mean is unbiased."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import LOG_EPS, ExpertLoss, expert_cross_entropy

__all__ = ['BalPoELoss']


@MODELS.register_module()
class BalPoELoss(ExpertLoss):
    r"""Trains each expert with its own strength of logit adjustment, so that their mean favors neither head nor tail.

    .. math:: \frac{1}{E} \sum_e \mathrm{CE}(z_e + \tau_e \log\pi,\, y)

    The mean of the plain logits is the product of the experts; it suits a balanced test set where the mean of the
    :math:`\tau_e` is 1. [0] has each expert calibrated by Mixup, which is
    ``train_cfg=dict(augments=dict(type='Mixup', alpha=0.4))`` of the model: the loss of its soft labels is
    :math:`\lambda L(y) + (1 - \lambda) L(y')`.

    [0] Aimar et al., Balanced Product of Calibrated Experts for Long-Tailed Recognition, CVPR 2023, arXiv 2206.05260.
    [1] github.com/emasa/BalPoE-CalibratedLT @ca607ae, ``BSExpertLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``balpoe`` and ``trajectory_balpoe``).

    Args:
        taus: Strength of each expert, (E,): (0, 1, 2) for CIFAR-LT, (0, 1.25, 2.5) for ImageNet-LT, (-1, 1, 3) for
            iNaturalist in [1].
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    accepts_soft_labels = True

    def __init__(self, *, taus: Sequence[float] = (0.0, 1.0, 2.0), **kwargs: Any) -> None:
        check(taus=(taus, 'a list of finite numbers'))
        self.taus, self.num_experts = tuple(taus), len(taus)
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('bias', np.outer(self.taus, np.log(distribution.prior + LOG_EPS)))  # (E, C)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits = inputs.expert_logits  # (E, N, C)
        adjusted = logits + self.bias.to(logits).unsqueeze(1)
        losses = expert_cross_entropy(adjusted, inputs.label, class_factor=self.class_factor(logits))
        return {f'loss_expert{e}': loss / self.num_experts for e, loss in enumerate(losses)}

    def extra_repr(self) -> str:
        return f'taus={self.taus}'
