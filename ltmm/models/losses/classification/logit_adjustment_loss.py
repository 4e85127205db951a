"""Logit adjustment in training: cross entropy with a power of the class prior added to the logits in log space."""

from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .adjusted_ce_loss import AdjustedCrossEntropyLoss

__all__ = ['LogitAdjustmentLoss', 'logit_adjustment_offset']


def logit_adjustment_offset(prior: np.ndarray, tau: float) -> np.ndarray:
    r"""Compute :math:`\log(\pi^\tau + 10^{-12})` from the class prior, (C,)."""
    return np.log(prior**tau + 1e-12)


@MODELS.register_module()
class LogitAdjustmentLoss(AdjustedCrossEntropyLoss):
    r"""Gives tail classes larger margins over head classes, by ``tau`` times the log of their training frequencies.

    .. math:: \ell(z, y) = -\log \mathrm{softmax}(z + \log(\pi^\tau + 10^{-12}))_y

    Predict with the plain logits. tau = 1 is balanced softmax but for the 1e-12 of [1], which gives a class without
    training images an offset of -27.6 in place of minus infinity. The post-hoc form of the method, plain cross entropy
    and an adjustment at test time, is ``ltmm.LogitAdjustment``.

    [0] Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314.
    [1] github.com/google-research/google-research @1d4d2f1, logit_adjustment. Reproduces [1] to 1e-6
        (tests/conformance, ``logit_adjustment``).

    Args:
        tau: Strength; 1 in [0] unless tuned.
        **kwargs: Arguments of :class:`ClassPriorLoss`.
    """

    def __init__(self, *, tau: float = 1.0, **kwargs: Any) -> None:
        check(tau=(tau, '>= 0'))
        self.tau = tau
        super().__init__(**kwargs)

    def adjustment(self, distribution: ClassDistribution) -> dict[str, np.ndarray]:
        return dict(offset=logit_adjustment_offset(distribution.prior, self.tau))

    def extra_repr(self) -> str:
        return f'tau={self.tau}, {super().extra_repr()}'
