"""Base of the selectors of clean samples, and the two-component mixture that they fit."""

import warnings
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['CleanSelector', 'Mixture', 'fit_mixture', 'min_max']


def min_max(values: np.ndarray) -> np.ndarray:
    """Scale values (N,) to [0, 1]; all to 0 if they are equal."""
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise InputError(
            f'Expected finite outputs of the network on all {len(values)} samples, but got NaN or infinity: it has '
            'diverged. Lower the learning rate.'
        )
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of two Gaussians in one dimension.

    Args:
        means: Of both components, (2,).
        posterior: Of the component with the lower mean, for each value, (N,).
        component: Index of the component with the lower mean.
        model: scikit-learn's ``GaussianMixture``.
    """

    means: np.ndarray
    posterior: np.ndarray
    component: int
    model: object

    @property
    def is_low(self) -> np.ndarray:
        """Whether each value belongs to the lower component, (N,)."""
        return self.posterior > 0.5

    @property
    def splits(self) -> bool:
        """Whether both components have values."""
        return 0 < int(self.is_low.sum()) < len(self.posterior)


def fit_mixture(
    values: np.ndarray, max_iter: int, tol: float, reg_covar: float, random_state: np.random.RandomState
) -> Mixture | None:
    """Fit two Gaussians to values (N,); None where there is nothing to split: fewer than two values, or all equal.

    Args:
        values: (N,).
        max_iter: Iterations of the expectation maximization.
        tol: Stop below this gain of the log-likelihood.
        reg_covar: Added to the variances.
        random_state: Of the k-means that it starts from.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(values) < 2 or values.min() == values.max():
        return None
    model = GaussianMixture(2, max_iter=max_iter, tol=tol, reg_covar=reg_covar, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)  # `max_iter` is part of the published methods
        model.fit(values[:, None])
    means = model.means_[:, 0]
    component = int(means.argmin())
    return Mixture(means, model.predict_proba(values[:, None])[:, component], component, model)


class CleanSelector(nn.Module):
    """Base of the selectors: from the outputs of a network to the probability that each label is right.

    A subclass writes :meth:`select`. Needs scikit-learn.

    Args:
        max_iter: Iterations of the expectation maximization of a mixture.
        tol: Stop it below this gain of the log-likelihood.
        reg_covar: Added to the variances of a mixture.
    """

    def __init__(self, *, max_iter: int, tol: float, reg_covar: float) -> None:
        super().__init__()
        check_extra('features', 'sklearn')
        check(max_iter=(max_iter, 'int >= 1'), tol=(tol, '> 0'), reg_covar=(reg_covar, '>= 0'))
        self.mixture = dict(max_iter=max_iter, tol=tol, reg_covar=reg_covar)

    def select(
        self, features: Tensor, logits: Tensor, label: Tensor, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Select the samples whose labels are right.

        Args:
            features: Input of the classifier, (N, D).
            logits: (N, C).
            label: Observed labels, (N,).
            random_state: Of the mixtures.

        Returns:
            Whether each sample is selected, (N,), and the probability that its label is right, (N,), 0 for those that
            are not selected.
        """
        raise NotImplementedError(f'{type(self).__name__} must define select(features, logits, label, random_state).')

    def extra_repr(self) -> str:
        return ', '.join(f'{name}={value}' for name, value in self.mixture.items())
