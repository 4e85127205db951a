"""The selector of DivideMix: small losses are clean."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .base import CleanSelector, fit_mixture, min_max

__all__ = ['LossMixtureSelector']


@MODELS.register_module()
class LossMixtureSelector(CleanSelector):
    r"""Selects samples with small losses, over all classes at once, so that hard tail samples look like noise.

    A mixture of two Gaussians is fitted to the cross entropies of all samples, scaled to [0, 1]. A sample is selected
    if the posterior of the component with the lower mean exceeds the threshold; that is the probability of its label.
    If all losses are equal, all samples are selected with probability 1.

    [0] Li et al., DivideMix: Learning with Noisy Labels as Semi-Supervised Learning, ICLR 2020, arXiv 2002.07394.

    Not compared with the authors' code.

    Args:
        threshold: Of the posterior, in [0, 1).
        max_iter: See :class:`CleanSelector`.
        tol: See :class:`CleanSelector`.
        reg_covar: See :class:`CleanSelector`.
    """

    def __init__(self, threshold: float = 0.5, max_iter: int = 10, tol: float = 1e-2, reg_covar: float = 5e-4) -> None:
        super().__init__(max_iter=max_iter, tol=tol, reg_covar=reg_covar)
        check(threshold=(threshold, 'in [0, 1)'))
        self.threshold = threshold

    def select(
        self, features: Tensor, logits: Tensor, label: Tensor, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        losses = F.cross_entropy(logits.double(), label, reduction='none').cpu().numpy()  # (N,)
        mixture = fit_mixture(min_max(losses), **self.mixture, random_state=random_state)
        probability = np.ones(len(losses)) if mixture is None else mixture.posterior
        selected = probability > self.threshold
        return selected, np.where(selected, probability, 0)

    def extra_repr(self) -> str:
        return f'threshold={self.threshold}, {super().extra_repr()}'
