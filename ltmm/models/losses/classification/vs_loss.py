"""Vector scaling: logit adjustment and class-dependent temperatures at once."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss
from .cdt_loss import cdt_divisor

__all__ = ['VSLoss']


@MODELS.register_module()
class VSLoss(AdjustedCrossEntropyLoss):
    r"""Divides and lowers the logits of tail classes while training.

    .. math::
        \ell(z, y) = -\log \mathrm{softmax}(z / \Delta + \iota)_y, \qquad
        \Delta_c = (n_{\max} / n_c)^\gamma, \quad \iota_c = \tau \log \pi_c

    The offset moves the decision boundary early in training, the divisor late. gamma = 0 is logit adjustment, tau = 0
    is CDT. Predict with the plain logits. A class without training samples has no part in the softmax and gets no
    gradient. [0] writes the divisor as a factor 1 / Delta.

    [0] Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization, NeurIPS 2021,
        arXiv 2103.01550.
    [1] github.com/orparask/VS-Loss @7ade9c7. Equal to [1] on its own numbers (tests/conformance, ``vs_loss``).

    Args:
        gamma: strength of the divisor, at least 0; 0.2 in [1] for CIFAR-10 at imbalance factor 100, 0.05 for CIFAR-100.
        tau: strength of the offset, at least 0; 1.2 and 0.75 there.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.base.ClassPriorLoss`.

    Raises:
        ValueError: ``gamma`` or ``tau`` is negative.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    def __init__(self, gamma: float, tau: float, **kwargs: Any) -> None:
        for name, value in (('gamma', gamma), ('tau', tau)):
            if not 0 <= value < float('inf'):
                raise ValueError(f'Expected `{name}` to be at least 0, but got {value}.')
        self.gamma, self.tau = gamma, tau
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """See :class:`AdjustedCrossEntropyLoss`."""
        counts, log_prior = distribution.instance_counts, distribution.log_prior
        offset = np.full_like(log_prior, -np.inf)
        np.multiply(self.tau, log_prior, out=offset, where=counts > 0)
        return dict(divisor=cdt_divisor(counts, self.gamma), offset=offset)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, tau={self.tau}, {super().extra_repr()}'
