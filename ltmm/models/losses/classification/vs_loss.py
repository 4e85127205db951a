"""Vector scaling: logit adjustment and class-dependent temperatures combined."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .adjusted_ce_loss import AdjustedCrossEntropyLoss
from .cdt_loss import cdt_divisor

__all__ = ['VSLoss']


@MODELS.register_module()
class VSLoss(AdjustedCrossEntropyLoss):
    r"""Divides and lowers the logits of tail classes in training.

    .. math::
        \ell(z, y) = -\log \mathrm{softmax}(z / \Delta + \iota)_y, \qquad
        \Delta_c = (n_{\max} / n_c)^\gamma, \quad \iota_c = \tau \log \pi_c

    The offset moves the decision boundary early in training, the divisor late. gamma = 0 is logit adjustment, tau = 0
    is CDT. Predict with the plain logits. Classes without training images are left out of the softmax and get no
    gradient.

    [0] Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization, NeurIPS 2021,
        arXiv 2103.01550.
    [1] github.com/orparask/VS-Loss @7ade9c7. Reproduces [1] to 1e-6 (tests/conformance, ``vs_loss``).

    Args:
        gamma: Strength of the divisor; 0.2 in [1] for CIFAR-10 at imbalance factor 100, 0.05 for CIFAR-100.
        tau: Strength of the offset; 1.2 and 0.75 there.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    def __init__(self, *, gamma: float, tau: float, **kwargs: Any) -> None:
        check(gamma=(gamma, '>= 0'), tau=(tau, '>= 0'))
        self.gamma, self.tau = gamma, tau
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        counts, log_prior = distribution.instance_counts, distribution.log_prior
        offset = np.full_like(log_prior, -np.inf)
        np.multiply(self.tau, log_prior, out=offset, where=counts > 0)
        return dict(divisor=cdt_divisor(counts, self.gamma), offset=offset)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, tau={self.tau}, {super().extra_repr()}'
