"""MDCS: experts biased to many-, medium- and few-shot classes, each consistent between two views."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import divisor
from ..objective import LossInputs
from .base import LOG_EPS, ExpertLoss, expert_cross_entropy, kl_divergence

__all__ = ['MDCSLoss', 'confident_consistency']


def confident_consistency(weak: Tensor, strong: Tensor, label: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Compute the KL divergence between the views of each expert, (E,), over the images it gets right in the weak one.

    Args:
        weak: Logits of the weakly augmented view, (E, N, C); detached.
        strong: Logits of the strongly augmented view, (E, N, C).
        label: Class indices, (N,).
        weight: Factor of each image, (N,), which the mean does not divide by.
    """
    weak = weak.detach()
    confident = weak.argmax(-1) == label  # (E, N)
    divergence = weight * kl_divergence(weak, strong)  # (E, N)
    return (divergence * confident).sum(1) / divisor(confident.sum(1), divergence)


@MODELS.register_module()
class MDCSLoss(NeedsWholeBatch, UsesProgress, ExpertLoss):
    r"""Biases experts to many-, medium- and few-shot classes; each distills its weak view into its strong view.

    .. math::
        \sum_e \Big[ \mathrm{CE}(v_e, y) + \alpha \min(t / t_0, 1) \,
        \mathrm{KL}\big(p(v_e^\mathrm{weak}) \,\|\, p(v_e^\mathrm{strong})\big) \Big],
        \qquad v_{e,c} = z_{e,c} + \log n_c^{\lambda_e}

    with the cross entropy over both views, the KL over the images an expert gets right in the weak view, and t the
    epoch, counted from 1. Predict with the mean of the plain logits. Classes without training images
    count as one image.

    The images come in two views, the weak one first: ``dict(type='MultiView', num_views=[1, 1], transforms=[weak,
    strong])`` in the pipeline and ``type='ltmm.MultiViewDataPreprocessor'`` for the data preprocessor.

    [0] Zhao et al., MDCS: More Diverse Experts with Consistency Self-distillation for Long-tailed Recognition,
        ICCV 2023, arXiv 2308.09922.
    [1] github.com/fistyee/MDCS @1a1d54e, ``MDCSLoss``. Reproduces [1] to 1e-6 (tests/conformance,
        ``mdcs`` and ``trajectory_mdcs``).

    Args:
        powers: lambda of each expert, (E,); the same for every data set in [1].
        consistency_weight: alpha.
        ramp_epochs: t_0, epochs until the consistency has its full weight.
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    num_views = 2

    def __init__(
        self,
        *,
        powers: Sequence[float] = (-0.5, 1.0, 2.5),
        consistency_weight: float = 0.6,
        ramp_epochs: int = 20,
        **kwargs: Any,
    ) -> None:
        check(
            powers=(powers, 'a list of finite numbers'),
            consistency_weight=(consistency_weight, '>= 0'),
            ramp_epochs=(ramp_epochs, 'int >= 1'),
        )
        self.powers, self.num_experts = tuple(powers), len(powers)
        self.consistency_weight, self.ramp_epochs = consistency_weight, ramp_epochs
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        counts = np.maximum(distribution.instance_counts, 1.0)
        self.register_derived('bias', np.log(counts ** np.array(self.powers)[:, None] + LOG_EPS))  # (E, C)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label = inputs.expert_logits, inputs.label  # (E, 2 N, C): weak views, then strong ones
        biased = logits + self.bias.to(logits).unsqueeze(1)
        losses = expert_cross_entropy(biased, torch.cat([label, label]), class_factor=self.class_factor(biased))
        ramp = min((self.epoch + 1) / self.ramp_epochs, 1)
        weight = self.weighted(logits.new_ones(len(label)), label)
        consistency = confident_consistency(*biased.chunk(2, dim=1), label, weight).sum()
        return {f'loss_expert{e}': loss for e, loss in enumerate(losses)} | dict(
            loss_consistency=self.consistency_weight * ramp * consistency
        )

    def extra_repr(self) -> str:
        return f'powers={self.powers}, consistency_weight={self.consistency_weight}, ramp_epochs={self.ramp_epochs}'
