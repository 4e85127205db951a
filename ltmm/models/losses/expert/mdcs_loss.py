"""MDCS: experts that prefer different classes, each consistent with itself under augmentation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.progress import UsesEpoch
from ltmm.registry import MODELS

from .base import LOG_EPS, ExpertLoss, expert_cross_entropy, kl_divergence

__all__ = ['MDCSLoss', 'confident_consistency']


def confident_consistency(weak: Tensor, strong: Tensor, label: Tensor) -> Tensor:
    """KL of each expert from its prediction of the weak to that of the strong view, (E,).

    It is averaged over the confident instances, those an expert gets right in the weak view; 0 where there is none.

    Args:
        weak: logits of the weakly augmented view, from which no gradient comes, (E, N, C).
        strong: logits of the strongly augmented view, (E, N, C).
        label: class indices, (N,).
    """
    weak = weak.detach()
    confident = weak.argmax(-1) == label  # (E, N)
    divergence = kl_divergence(weak, strong)  # (E, N)
    return (divergence * confident).sum(1) / confident.sum(1).clamp(min=1)


@MODELS.register_module()
class MDCSLoss(UsesEpoch, ExpertLoss):
    r"""Biases one expert to the head, one to the middle, one to the tail; each teaches its strong view by its weak one.

    .. math::
        \sum_e \Big[ \mathrm{CE}(v_e, y) + \alpha \min(t / t_0, 1) \,
        \mathrm{KL}\big(p(v_e^\mathrm{weak}) \,\|\, p(v_e^\mathrm{strong})\big) \Big],
        \qquad v_{e,c} = z_{e,c} + \log n_c^{\lambda_e}

    with the cross entropy over both views, the KL over the instances an expert gets right in the weak view, and t the
    epoch, counted from 1. Prediction is the mean of the plain logits. A class without training samples counts as one
    with a single sample.

    The images come in two views, the weak one first: ``dict(type='MultiView', num_views=[1, 1], transforms=[weak,
    strong])`` in the pipeline and ``type='ltmm.MultiViewDataPreprocessor'`` for the data preprocessor.

    [0] Zhao et al., MDCS: More Diverse Experts with Consistency Self-distillation for Long-tailed Recognition,
        ICCV 2023, arXiv 2308.09922.
    [1] github.com/fistyee/MDCS @1a1d54e, ``MDCSLoss``. Equal to [1] on its own numbers (tests/conformance, ``mdcs``).

    Args:
        powers: lambda of each expert, (E,); the same for every data set in [1].
        consistency_weight: alpha.
        ramp_epochs: t_0, epochs until the consistency has its full weight.
        **kwargs: class_counts and num_classes of :class:`~ltmm.models.losses.expert.ExpertLoss`.

    Raises:
        ValueError: no power, one that is not finite, a negative weight or less than one epoch; a head with another
            number of experts; at a forward with one view of each image.
        RuntimeError: at a forward before the epoch or the class distribution is known; the message names the hook.
    """

    num_views = 2

    def __init__(
        self,
        powers: Sequence[float] = (-0.5, 1.0, 2.5),
        consistency_weight: float = 0.6,
        ramp_epochs: int = 20,
        **kwargs: Any,
    ) -> None:
        if not len(powers) or not np.isfinite(powers).all():
            raise ValueError(f'Expected `powers` to be one finite number an expert, but got {powers}.')
        if not 0 <= consistency_weight < float('inf'):
            raise ValueError(f'Expected `consistency_weight` to be at least 0, but got {consistency_weight}.')
        if ramp_epochs < 1:
            raise ValueError(f'Expected `ramp_epochs` to be at least 1, but got {ramp_epochs}.')
        self.powers, self.num_experts = tuple(powers), len(powers)
        self.consistency_weight, self.ramp_epochs = consistency_weight, ramp_epochs
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep what is added to the logits of each expert."""
        counts = np.maximum(distribution.instance_counts, 1.0)
        self.register_derived('bias', np.log(counts ** np.array(self.powers)[:, None] + LOG_EPS))  # (E, C)

    def terms(self, expert_logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """``loss_expert0``, ..., and ``loss_consistency``.

        Args:
            expert_logits: the weak views, then the strong ones, (E, 2 N, C).
            label: (N,).
        """
        biased = expert_logits + self.bias.to(expert_logits).unsqueeze(1)
        losses = expert_cross_entropy(biased, torch.cat([label, label]))
        ramp = min((self.epoch + 1) / self.ramp_epochs, 1)
        consistency = confident_consistency(*biased.chunk(2, dim=1), label).sum()
        return {f'loss_expert{e}': loss for e, loss in enumerate(losses)} | dict(
            loss_consistency=self.consistency_weight * ramp * consistency
        )

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'powers={self.powers}, consistency_weight={self.consistency_weight}, ramp_epochs={self.ramp_epochs}'
