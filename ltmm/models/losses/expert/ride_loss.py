"""RIDE: margins, deferred re-weighting, and experts that are pushed apart."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.progress import UsesEpoch
from ltmm.registry import MODELS

from ..classification.adjusted_ce_loss import adjusted_logits
from ..classification.ldam_loss import ldam_margins
from .base import ExpertLoss, expert_cross_entropy, kl_divergence

__all__ = ['RIDELoss', 'diversity_temperature']


def diversity_temperature(prior: np.ndarray, factor: float) -> np.ndarray:
    """Temperature of each class in the diversity term, (C,): the largest is 1, and tail classes are below.

    Args:
        prior: share of each class in the training data, (C,).
        factor: 0 makes all of them 1, 1 proportional to the prior.
    """
    temperature = factor * len(prior) * prior + 1 - factor
    return temperature / temperature.max()


@MODELS.register_module()
class RIDELoss(UsesEpoch, ExpertLoss):
    r"""Gives each expert LDAM's margins, the tail more weight late in training, and rewards experts that disagree.

    .. math::
        \sum_e \Big[ \mathrm{CE}_w(z_e - s \, m_y \, \mathrm{onehot}(y),\, y)
        + \lambda \, \bar D^2 \,
        \mathrm{KL}\big(\mathrm{softmax}(\bar z / D) \,\|\, \mathrm{softmax}(z_e / D)\big) \Big]

    with :math:`\bar z` the mean of the experts, from which no gradient comes, :math:`m` the margins of
    :class:`LDAMLoss`, :math:`w` the weights of the effective number of samples and :math:`D` a temperature a class,
    which lets the experts differ more in the tail. Up to ``reweight_epoch`` there are no weights and :math:`D = 1`.
    With ``diversity_factor=0`` the mean of the experts is trained in their place. The classifier scales its cosines
    itself: ``classifier=dict(type='ltmm.NormedLinear', scale=30)``.

    The routing of easy images past the later experts, a stage of its own in [0], is not part of this.

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``RIDELoss``. Equal to [1] on its own numbers
        (tests/conformance, ``ride``).

    Args:
        diversity_factor: lambda; negative pushes the experts apart. -0.45 for CIFAR-LT, -0.2 for ImageNet-LT and
            iNaturalist in [1].
        reweight_factor: how far D follows the prior, in [0, 1); 0.05, 0.02 and 0.015 in [1].
        reweight_epoch: first epoch with weights and D, counted from 0: 160 of 200, 80 of 100 in [1]; None for never.
        max_margin: margin of the rarest class, in cosines.
        scale: s, that of the classifier.
        beta: of the effective number of samples.
        **kwargs: class_counts and num_classes of :class:`~ltmm.models.losses.expert.ExpertLoss`.

    Raises:
        ValueError: ``diversity_factor`` is not finite, ``reweight_factor`` or ``beta`` out of range, ``max_margin`` or
            ``scale`` not positive, or ``reweight_epoch`` no whole number of at least 0; in a head whose cosine layer
            has another scale.
        TypeError: in a head without a cosine layer.
        RuntimeError: at a forward before the epoch or the class distribution is known; the message names the hook.
    """

    needs_cosine = True
    scaled_by_layer = True

    def __init__(
        self,
        diversity_factor: float,
        reweight_factor: float,
        reweight_epoch: int | None,
        max_margin: float = 0.5,
        scale: float = 30.0,
        beta: float = 0.9999,
        **kwargs: Any,
    ) -> None:
        if not math.isfinite(diversity_factor):
            raise ValueError(f'Expected `diversity_factor` to be finite, but got {diversity_factor}.')
        for name, value in (('max_margin', max_margin), ('scale', scale)):
            if not 0 < value < float('inf'):
                raise ValueError(f'Expected `{name}` to be positive, but got {value}.')
        for name, value in (('reweight_factor', reweight_factor), ('beta', beta)):
            if not 0 <= value < 1:
                raise ValueError(f'Expected `{name}` to be in [0, 1), but got {value}.')
        is_whole = isinstance(reweight_epoch, int) and not isinstance(reweight_epoch, bool)
        if reweight_epoch is not None and not (is_whole and reweight_epoch >= 0):
            raise ValueError(
                f'Expected `reweight_epoch` to be a whole number of at least 0, or None, but got {reweight_epoch!r}.'
            )
        self.diversity_factor, self.reweight_factor, self.reweight_epoch = (
            diversity_factor,
            reweight_factor,
            reweight_epoch,
        )
        self.max_margin, self.scale, self.beta = max_margin, scale, beta
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep margins, weights and temperatures."""
        self.register_derived('margin', self.scale * ldam_margins(distribution.instance_counts, self.max_margin))
        self.register_derived('class_weight', distribution.weights('effective_number', beta=self.beta))
        self.register_derived('temperature', diversity_temperature(distribution.prior, self.reweight_factor))

    def terms(self, expert_logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_diversity``, summed over the experts."""
        is_reweighted = self.reweight_epoch is not None and self.epoch >= self.reweight_epoch
        class_weight = self.class_weight.to(expert_logits) if is_reweighted else None
        scores = expert_logits if self.diversity_factor else expert_logits.mean(0, keepdim=True)  # (E or 1, N, C)
        lowered = adjusted_logits(
            scores.flatten(0, 1), label.repeat(len(scores)), margin=self.margin.to(expert_logits)
        ).view_as(scores)
        loss = expert_cross_entropy(lowered, label, class_weight).mean() * len(expert_logits)
        if not self.diversity_factor:
            return dict(loss_cls=loss)
        temperature = self.temperature.to(expert_logits) if is_reweighted else expert_logits.new_ones(())
        mean = expert_logits.detach().mean(0)  # (N, C)
        kl = kl_divergence(mean / temperature, expert_logits / temperature).mean(1).sum()
        return dict(loss_cls=loss, loss_diversity=self.diversity_factor * temperature.mean() ** 2 * kl)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'diversity_factor={self.diversity_factor}, reweight_factor={self.reweight_factor}, '
            f'reweight_epoch={self.reweight_epoch}, max_margin={self.max_margin}, scale={self.scale}, beta={self.beta}'
        )
