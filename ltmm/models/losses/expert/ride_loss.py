"""RIDE: LDAM margins, deferred re-weighting and a diversity term between experts."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import CosineLoss, divisor
from ..classification.adjusted_ce_loss import adjusted_logits
from ..classification.ldam_loss import ldam_margins
from ..objective import LossInputs
from .base import ExpertLoss, expert_cross_entropy, kl_divergence

__all__ = ['RIDELoss', 'diversity_temperature']


def diversity_temperature(prior: np.ndarray, factor: float) -> np.ndarray:
    """Compute the temperature of each class in the diversity term, (C,): at most 1, smaller for tail classes.

    Args:
        prior: Share of each class in the training data, (C,).
        factor: 0 makes all temperatures 1, 1 makes them proportional to the prior.
    """
    temperature = factor * len(prior) * prior + 1 - factor
    return temperature / temperature.max()


@MODELS.register_module()
class RIDELoss(CosineLoss, NeedsWholeBatch, UsesProgress, ExpertLoss):
    r"""Trains each expert with LDAM margins, gives the tail more weight late in training, and rewards disagreement.

    .. math::
        \sum_e \Big[ \mathrm{CE}_w(z_e - s \, m_y \, \mathrm{onehot}(y),\, y)
        + \lambda \, \bar D^2 \,
        \mathrm{KL}\big(\mathrm{softmax}(\bar z / D) \,\|\, \mathrm{softmax}(z_e / D)\big) \Big]

    where :math:`\bar z` is the detached mean of the experts, :math:`m` the margins of :class:`LDAMLoss`, :math:`w` the
    weights by the effective number of samples, and :math:`D` a temperature per class, which lets the experts differ
    more on tail classes. Before ``reweight_epoch`` there are no weights and :math:`D = 1`. With ``diversity_factor=0``
    the mean of the experts is trained instead of each of them. The classifier scales the cosines:
    ``classifier=dict(type='ltmm.NormedLinear', scale=30)``. ``ltmm.EarlyExitClassifier`` adds the routing of [0].

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDELoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``ride`` and ``trajectory_ride``).

    Args:
        diversity_factor: lambda; negative values push the experts apart. -0.45 for CIFAR-LT, -0.2 for ImageNet-LT and
            iNaturalist in [1].
        reweight_factor: How far D follows the prior, in [0, 1); 0.05, 0.02 and 0.015 in [1].
        reweight_epoch: First epoch with weights and D, counted from 0: 160 of 200, 80 of 100 in [1]; None for never.
        max_margin: Margin of the rarest class, in cosines.
        scale: s, the same as of the classifier.
        beta: Of the effective number of samples.
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    scaled_by_layer = True

    def __init__(
        self,
        *,
        diversity_factor: float,
        reweight_factor: float,
        reweight_epoch: int | None,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        **kwargs: Any,
    ) -> None:
        check(
            diversity_factor=(diversity_factor, 'finite'),
            max_margin=(max_margin, '> 0'),
            scale=(scale, '> 0'),
            reweight_factor=(reweight_factor, 'in [0, 1)'),
            beta=(beta, 'in [0, 1)'),
            reweight_epoch=(reweight_epoch, 'int >= 0 or None'),
        )
        self.diversity_factor = diversity_factor
        self.reweight_factor, self.reweight_epoch = reweight_factor, reweight_epoch
        self.max_margin, self.scale, self.beta = max_margin, scale, beta
        super().__init__(**kwargs)

    @property
    def needs_whole_batch(self) -> bool:
        return self.reweight_epoch is not None  # the weights are normalized to sum 1

    @property
    def reweights(self) -> bool:
        return self.reweight_epoch is not None or super().reweights

    @property
    def balances_classes(self) -> bool:
        """Whether the loss is re-weighted at some time; its margins alone leave a bias."""
        return self.reweights

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('margin', self.scale * ldam_margins(distribution.instance_counts, self.max_margin))
        self.register_derived('class_weight', distribution.weights('effective_number', beta=self.beta))
        self.register_derived('temperature', diversity_temperature(distribution.prior, self.reweight_factor))

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        expert_logits, label = inputs.expert_logits, inputs.label
        is_reweighted = self.reweight_epoch is not None and self.epoch >= self.reweight_epoch
        class_weight = self.class_weight.to(expert_logits) if is_reweighted else None
        scores = expert_logits if self.diversity_factor else expert_logits.mean(0, keepdim=True)  # (E or 1, N, C)
        lowered = adjusted_logits(
            scores.flatten(0, 1), label.repeat(len(scores)), margin=self.margin.to(expert_logits)
        ).view_as(scores)
        loss = expert_cross_entropy(lowered, label, class_weight, self.class_factor(lowered)).mean()
        loss = loss * len(expert_logits)
        if not self.diversity_factor:
            return dict(loss_cls=loss)
        temperature = self.temperature.to(expert_logits) if is_reweighted else expert_logits.new_ones(())
        mean = expert_logits.detach().mean(0)  # (N, C)
        kl = self.weighted(kl_divergence(mean / temperature, expert_logits / temperature), label)  # (E, N)
        kl = kl.sum() / divisor(len(label), kl)
        return dict(loss_cls=loss, loss_diversity=self.diversity_factor * temperature.mean() ** 2 * kl)

    def extra_repr(self) -> str:
        return (
            f'diversity_factor={self.diversity_factor}, reweight_factor={self.reweight_factor}, '
            f'reweight_epoch={self.reweight_epoch}, max_margin={self.max_margin}, scale={self.scale}, beta={self.beta}'
        )
