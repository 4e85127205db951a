"""SADE: three experts for three test distributions."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import LOG_EPS, ExpertLoss, expert_cross_entropy

__all__ = ['SADELoss', 'inverse_prior']


def inverse_prior(prior: np.ndarray) -> np.ndarray:
    """Reverse a class prior, (C,): the class with the k-th smallest share gets the k-th largest.

    Among classes of the same share the one with the lower label counts as smaller.
    """
    order = np.argsort(prior, kind='stable')
    inverse = np.empty_like(prior)
    inverse[order] = prior[order[::-1]]
    return inverse


@MODELS.register_module()
class SADELoss(ExpertLoss):
    r"""Trains one expert for the training distribution, one for a balanced and one for a tail-heavy test set.

    .. math::
        \mathrm{CE}(z_1, y) + \mathrm{CE}(z_2 + \log\pi,\, y)
        + \mathrm{CE}(z_3 + \log\pi - \tau \log\pi^\mathrm{inv},\, y)

    where :math:`\pi` is the class prior and :math:`\pi^\mathrm{inv}` the prior in reverse order of the classes. The
    mean of the experts suits a balanced test set; ``ltmm.ExpertAggregationLoop`` learns weights of the experts for a
    test set of unknown distribution.

    [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
        NeurIPS 2022, arXiv 2107.09249.
    [1] github.com/Vanint/SADE-AgnosticLT @cba11b8, ``DiverseExpertLoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``sade`` and ``trajectory_sade``) up to ties: classes with equally many images get their
        inverse priors in another order, as the sort of [1] is not stable.

    Args:
        tau: Strength of the third expert; 2 for CIFAR-LT and ImageNet-LT, 1 for Places-LT and iNaturalist in [1].
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    num_experts = 3
    accepts_soft_labels = True

    def __init__(self, *, tau: float = 2.0, **kwargs: Any) -> None:
        check(tau=(tau, '>= 0'))
        self.tau = tau
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        prior = distribution.prior
        uniform = np.log(prior + LOG_EPS)
        backward = uniform - self.tau * np.log(inverse_prior(prior) + LOG_EPS)
        self.register_derived('bias', np.stack([np.zeros_like(prior), uniform, backward]))  # (3, C)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits = inputs.expert_logits  # (3, N, C)
        adjusted = logits + self.bias.to(logits).unsqueeze(1)
        losses = expert_cross_entropy(adjusted, inputs.label, class_factor=self.class_factor(logits))
        return dict(zip(('loss_forward', 'loss_uniform', 'loss_backward'), losses))

    def extra_repr(self) -> str:
        return f'tau={self.tau}'
