"""SADE: three experts for three test distributions."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .base import LOG_EPS, ExpertLoss, expert_cross_entropy

__all__ = ['SADELoss', 'inverse_prior']


def inverse_prior(prior: np.ndarray) -> np.ndarray:
    """The prior handed out in reverse, (C,): the class of the k-th smallest share gets the k-th largest.

    Args:
        prior: share of each class in the training data, (C,).
    """
    order = np.argsort(prior, kind='stable')
    inverse = np.empty_like(prior)
    inverse[order] = prior[order[::-1]]
    return inverse


@MODELS.register_module()
class SADELoss(ExpertLoss):
    r"""Trains one expert for a test set like the training data, one for a balanced one, one for a tail-heavy one.

    .. math::
        \mathrm{CE}(z_1, y) + \mathrm{CE}(z_2 + \log\pi,\, y)
        + \mathrm{CE}(z_3 + \log\pi - \tau \log\pi^\mathrm{inv},\, y)

    with :math:`\pi` the prior and :math:`\pi^\mathrm{inv}` the prior in reverse order of the classes. At test time the
    mean of the experts suits a balanced test set; ``ltmm.ExpertAggregationLoop`` finds the weights of the experts for
    a test set of unknown distribution.

    [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
        NeurIPS 2022, arXiv 2107.09249.
    [1] github.com/Vanint/SADE-AgnosticLT @cba11b8, ``DiverseExpertLoss``. Equal to [1] on its own numbers
        (tests/conformance, ``sade``).

    Args:
        tau: strength of the third expert; 2 for CIFAR-LT and ImageNet-LT, 1 for Places-LT and iNaturalist in [1].
        **kwargs: class_counts and num_classes of :class:`~ltmm.models.losses.expert.ExpertLoss`.

    Raises:
        ValueError: a negative ``tau``, or a head with another number of experts than 3.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    num_experts = 3
    accepts_soft_labels = True

    def __init__(self, tau: float = 2.0, **kwargs: Any) -> None:
        if not 0 <= tau < float('inf'):
            raise ValueError(f'Expected `tau` to be at least 0, but got {tau}.')
        self.tau = tau
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep what is added to the logits of each expert."""
        prior = distribution.prior
        uniform = np.log(prior + LOG_EPS)
        backward = uniform - self.tau * np.log(inverse_prior(prior) + LOG_EPS)
        self.register_derived('bias', np.stack([np.zeros_like(prior), uniform, backward]))  # (3, C)

    def terms(self, expert_logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """``loss_forward``, ``loss_uniform``, ``loss_backward``: the three experts."""
        losses = expert_cross_entropy(expert_logits + self.bias.to(expert_logits).unsqueeze(1), label)
        return dict(zip(('loss_forward', 'loss_uniform', 'loss_backward'), losses))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'tau={self.tau}'
