"""Logit adjustment while training: the prior, to a power, added to the logits in log space."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['LogitAdjustmentLoss', 'logit_adjustment_offset']


def logit_adjustment_offset(prior: np.ndarray, tau: float) -> np.ndarray:
    r""":math:`\log(\pi^\tau + 10^{-12})`, (C,).

    Args:
        prior: share of each class in the training data, (C,).
        tau: strength.
    """
    return np.log(prior**tau + 1e-12)


@MODELS.register_module()
class LogitAdjustmentLoss(AdjustedCrossEntropyLoss):
    r"""Asks a larger margin of the tail over the head, by the log of their training frequencies times a strength.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}(z + \log(\pi^\tau + 10^{-12}))_y

    Predict with the plain logits. tau = 1 is balanced softmax up to the 1e-12 of [1], which matters where pi^tau is
    below 1e-9: a class without training samples has an offset of -27.6, not minus infinity. The other form of the
    method, plain cross entropy and an adjustment at test time, is ``ltmm.LogitAdjustment``.

    [0] Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314.
    [1] github.com/google-research/google-research @1d4d2f1, logit_adjustment. Equal to [1] on its own numbers
        (tests/conformance, ``logit_adjustment``).

    Args:
        tau: strength, at least 0; 1 in [0] without a search.
        **kwargs: loss_weight, reduction, class_counts and num_classes of
            :class:`~ltmm.models.losses.base.ClassPriorLoss`.

    Raises:
        ValueError: ``tau`` is negative.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    def __init__(self, tau: float = 1.0, **kwargs: Any) -> None:
        if not 0 <= tau < float('inf'):
            raise ValueError(f'Expected `tau` to be at least 0, but got {tau}.')
        self.tau = tau
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        """See :class:`AdjustedCrossEntropyLoss`."""
        return dict(offset=logit_adjustment_offset(distribution.prior, self.tau))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'tau={self.tau}, {super().extra_repr()}'
