"""Repeat-factor sampling (RFS): repeats images of rare classes."""

from collections.abc import Sequence, Sized
from functools import cached_property
from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import LongTailSampler
from .class_members import permutation

__all__ = ['RepeatFactorSampler', 'image_repeat_factors', 'stochastic_round']


def image_repeat_factors(table: LabelTable, class_factors: np.ndarray) -> np.ndarray:
    """Return the largest of the ``class_factors`` (C,) in each image, (N,); 1 for an image without labels."""
    factors = np.ones(len(table))
    np.maximum.at(factors, table.samples, class_factors[table.labels])
    return factors


def stochastic_round(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round non-negative numbers (N,) up or down at random; keeps their expectations and their integer sum.

    Systematic sampling: the fractions are laid end to end in random order, and a grid of spacing 1 with random offset
    selects those to round up.
    """
    counts = np.floor(expected).astype(np.int32)
    num_up = round(expected.sum()) - counts.sum()
    if num_up:
        order = permutation(len(expected), rng)
        ends = np.cumsum((expected - counts)[order])
        ends *= num_up / ends[-1]
        ends[-1] = num_up
        offset = rng.random(dtype=np.float32)  # 24 bits: adding an integer is exact
        counts[order] += np.diff(np.floor(ends + offset).astype(np.int32), prepend=0)
    return counts


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(LongTailSampler):
    r"""Repeats images that hold rare classes.

    .. math:: r(I) = \max_{c \in I} r(c), \quad r(c) = \max(1, (t / f_c)^{1/2})

    with :math:`f_c` the share of images that hold class c. The factor of an image without labels is 1.

    An image of factor 2.3 is drawn twice per epoch, and a third time in 30 % of the epochs as in [1]; with
    ``rounding='ceil'`` three times in all epochs, as MMEngine's ClassBalancedDataset does. [1] rounds every image on
    its own; here all are rounded together, so that all epochs have the same length. ``length`` rescales all factors.

    With ``group_bounds``, each group of classes, by number of training images, has its own threshold and power, as in
    step-wise learning [2], where powers (0.5, 0.5, 0.3, 0) do not repeat the most frequent group.

    References:
        [0] Gupta et al., LVIS, CVPR 2019, arXiv 1908.03195.
        [1] github.com/facebookresearch/detectron2 @02b5c4e, RepeatFactorTrainingSampler. The factors are those of
            ClassBalancedDataset (tests/conformance, ``rfs``).
        [2] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.

    Args:
        dataset, length, seed, round_up, labels: See :class:`LongTailSampler`. Default length: the sum of the factors.
        threshold: t, the share of images below which a class is repeated: 1e-3 for LVIS, around 1/C for single-label
            data. One number, or one per group, rarest group first.
        power: Exponent, 1/2 in [0]. One number above 0, or one per group; 0 repeats no class of the group.
        group_bounds: Ascending numbers of images that separate the groups, see
            :meth:`ltmm.ClassDistribution.image_groups`.
        rounding: ``'stochastic'`` or ``'ceil'``.
    """

    def __init__(
        self,
        dataset: Sized,
        threshold: float | Sequence[float],
        power: float | Sequence[float] = 0.5,
        group_bounds: Sequence[int] | None = None,
        rounding: str = 'stochastic',
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        check(rounding=(rounding, ('ceil', 'stochastic')), power=(power, '> 0' if np.isscalar(power) else '>= 0'))
        self.group_bounds, self.rounding = group_bounds, rounding
        self.threshold, self.power = self._per_group('threshold', threshold), self._per_group('power', power)
        self.dataset, self.labels = dataset, labels  # default_length reads them
        super().__init__(dataset, length, seed, round_up, labels)
        share = self._image_distribution.image_frequency
        share = share[share > 0]
        self.warn_if_uniform(
            f'all repeat factors are {self.repeat_factors.max():.3g}. Choose a threshold, now '
            f'{", ".join(f"{t:g}" for t in self.threshold)}, between the shares of images of the rarest and the most '
            f'frequent class, {share.min():.2g} and {share.max():.2g}.'
        )

    @cached_property
    def repeat_factors(self) -> np.ndarray:
        """Factor of each image, not rounded, (N,)."""
        factors = np.stack(
            [self._image_distribution.repeat_factors(t, p) for t, p in zip(self.threshold, self.power)]
        )  # (G, C)
        groups = np.zeros(self.table.num_classes, dtype=np.int64)
        if self.group_bounds is not None:
            groups = self._class_distribution.image_groups(self.group_bounds)
        return image_repeat_factors(self.table, factors[groups, np.arange(len(groups))])

    def default_length(self) -> int:
        """Return the (rounded) sum of the factors."""
        return round(self._draws.sum())

    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`LongTailSampler`; the same in all epochs."""
        return self._draws / self._draws.sum()

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """See :class:`LongTailSampler`."""
        counts = stochastic_round(self._draws * (self.length / self._draws.sum()), rng)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)[permutation(self.length, rng)]

    @property
    def _class_distribution(self) -> ClassDistribution:
        return class_distribution_of(self.dataset) if self.labels is None else self.table.class_distribution()

    @cached_property
    def _draws(self) -> np.ndarray:
        """Draws of each image in an epoch of default length, (N,)."""
        return np.ceil(self.repeat_factors) if self.rounding == 'ceil' else self.repeat_factors

    @cached_property
    def _image_distribution(self) -> ClassDistribution:
        """Images per class; ``num_images`` includes those without labels."""
        return ClassDistribution(self.table.image_counts, num_images=len(self.table))

    def _per_group(self, name: str, value: float | Sequence[float]) -> tuple[float, ...]:
        num_groups = 1 if self.group_bounds is None else len(self.group_bounds) + 1
        values = (value,) * num_groups if np.isscalar(value) else tuple(value)
        if len(values) != num_groups:
            raise InputError(f'Expected `{name}` to be one number or one for each of {num_groups} groups, got {value}.')
        return values
