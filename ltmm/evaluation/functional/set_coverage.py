"""Coverage of predicted sets of classes."""

from dataclasses import dataclass

import numpy as np

from ltmm.class_distribution import Shots
from ltmm.utils.errors import InputError

from .shots import mean_by_shot

__all__ = ['SetCoverage', 'set_coverage']

LOW = 0.5  # coverage of a class that counts as low, as in [0] of ltmm.ConformalSets


@dataclass(frozen=True, eq=False)
class SetCoverage:
    """Counts per true class, and the figures that follow from them; NaN for a class without samples.

    Args:
        support: Samples per class, (C,).
        covered: Samples per class with their class in the set, (C,).
        members: Sum of the sizes of the sets per class, (C,).
    """

    support: np.ndarray
    covered: np.ndarray
    members: np.ndarray

    @property
    def coverage(self) -> np.ndarray:
        """Share of the samples of each class with their class in the set, (C,)."""
        return self._per_sample(self.covered)

    @property
    def size(self) -> np.ndarray:
        """Mean size of the sets of each class, (C,)."""
        return self._per_sample(self.members)

    def figures(self, shots: Shots | None = None) -> dict[str, float]:
        """Return the figures; shares in [0, 1].

        ``marginal``: share of the samples covered; ``macro``: mean over the classes; ``low``: share of the classes with
        a coverage below 0.5; ``size``: mean size of the sets; with groups, ``many`` ... and ``size_many`` ..., means
        over their classes.
        """
        coverage, size = self.coverage, self.size
        tested = coverage[self.support > 0]
        figures = dict(
            marginal=float(self.covered.sum() / self.support.sum()),
            macro=float(tested.mean()),
            low=float((tested < LOW).mean()),
            size=float(self.members.sum() / self.support.sum()),
        )
        if shots is not None:
            figures |= mean_by_shot(coverage, shots)
            figures |= {f'size_{name}': value for name, value in mean_by_shot(size, shots).items()}
        return figures

    def _per_sample(self, total: np.ndarray) -> np.ndarray:
        return np.divide(total, self.support, out=np.full(len(total), np.nan), where=self.support > 0)


def set_coverage(sets: np.ndarray, label: np.ndarray) -> SetCoverage:
    """Count covered samples and the sizes of the sets.

    Args:
        sets: Whether each class is in the set, (N, C).
        label: Class indices, (N,).
    """
    sets, label = np.asarray(sets), np.asarray(label)
    if sets.ndim != 2 or sets.dtype != bool or label.shape != sets.shape[:1] or not len(label):
        raise InputError(
            f'Expected booleans (N, C) and N labels, at least one; got {sets.dtype} {sets.shape} and {label.shape}.'
        )
    num_classes = sets.shape[1]
    return SetCoverage(
        np.bincount(label, minlength=num_classes),
        np.bincount(label, sets[np.arange(len(label)), label], num_classes),
        np.bincount(label, sets.sum(1), num_classes),
    )
