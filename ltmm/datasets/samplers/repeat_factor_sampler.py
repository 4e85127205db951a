"""Repeat-factor sampling: images of rare classes come more than once."""

from collections.abc import Sequence, Sized
from functools import cached_property

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATA_SAMPLERS

from .base import LongTailSampler
from .class_members import permutation

__all__ = ['RepeatFactorSampler', 'image_repeat_factors', 'stochastic_round']

ROUNDINGS = ('ceil', 'stochastic')


def image_repeat_factors(table: LabelTable, class_factors: np.ndarray) -> np.ndarray:
    """Largest factor of the classes in each image, (N,); 1 for an image without any.

    Args:
        table: labels of N images.
        class_factors: factor of each class, at least 1, (C,).
    """
    images, classes = table.unique_pairs()
    factors = np.ones(len(table))
    np.maximum.at(factors, images, class_factors[classes])
    return factors


def stochastic_round(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers with the given expectations: each is rounded up or down, and their sum stays what it is, (N,).

    The fractions are laid end to end in random order; a grid of spacing 1 with random offset picks those to round up
    (systematic sampling).

    Args:
        expected: non-negative numbers with a whole sum, (N,).
        rng: where the randomness comes from.
    """
    counts = np.floor(expected).astype(np.int32)
    num_up = round(expected.sum()) - counts.sum()
    if num_up:
        order = permutation(len(expected), rng)
        ends = np.cumsum((expected - counts)[order])
        ends *= num_up / ends[-1]
        ends[-1] = num_up
        offset = rng.random(dtype=np.float32)  # 24 bits: adding a whole number is exact
        counts[order] += np.diff(np.floor(ends + offset).astype(np.int32), prepend=0)
    return counts


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(LongTailSampler):
    r"""Repeats images that hold a rare class, by the square root of how rare it is; head images come once.

    .. math:: r(I) = \max_{c \in I} r(c), \quad r(c) = \max(1, (t / f_c)^{1/2})

    with :math:`f_c` the share of the images that hold c. An image without labels has factor 1.

    A factor of 2.3 means two draws in each epoch and a third one in 30 % of them, drawn anew every epoch, as [1] does;
    ``rounding='ceil'`` means three in all of them, as MMEngine's ClassBalancedDataset does, which makes 2 of 1.01.
    Where [1] rounds every image on its own, all are rounded together, with the same expectations, so that every epoch
    has the same length. A ``length`` other than the sum of the factors scales them all.

    With ``group_bounds`` each group of classes, by how many images of the training data hold them, has a threshold and
    a power of its own, as in step-wise learning [2]: (0.5, 0.5, 0.3, 0) leaves the most frequent group as it is.

    [0] Gupta et al., LVIS, CVPR 2019, arXiv 1908.03195.
    [1] github.com/facebookresearch/detectron2 @02b5c4e, RepeatFactorTrainingSampler. Factors equal to
        ClassBalancedDataset's (tests/conformance, `rfs`).
    [2] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.

    Args:
        dataset: see :class:`LongTailSampler`.
        threshold: t, the share of images below which a class is repeated: 1e-3 for LVIS; with one label an image, a
            value around 1/C. One number, or one a group, rarest first.
        power: the exponent, 1/2 in [0]. One number, or one a group; 0 repeats no class of the group.
        group_bounds: ascending numbers of images that tell the groups apart, see
            :meth:`ltmm.ClassDistribution.image_groups`; no groups when left out.
        rounding: ``'stochastic'`` or ``'ceil'``.
        length: draws per epoch, over all ranks; the (rounded) sum of the factors when left out.
        seed: see :class:`LongTailSampler`.
        round_up: see :class:`LongTailSampler`.

    Raises:
        ValueError: ``threshold`` outside (0, 1], ``power`` not positive (of a group: negative), numbers for other than
            the groups there are, or an unknown ``rounding``.
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
    ) -> None:
        if rounding not in ROUNDINGS:
            raise ValueError(f'Expected `rounding` to be one of {list(ROUNDINGS)}, but got {rounding!r}.')
        self.group_bounds = group_bounds
        self.threshold = self._per_group('threshold', threshold)
        self.power = self._per_group('power', power)
        is_scalar = np.isscalar(power)
        if not all(0 <= p < np.inf for p in self.power) or (is_scalar and not power):
            kind = 'a positive number' if is_scalar else 'numbers of at least 0'
            raise ValueError(f'Expected `power` to be {kind}, but got {power}.')
        self.rounding = rounding
        self.dataset = dataset  # its groups are needed for the length
        super().__init__(dataset, length, seed, round_up)
        share = self._image_distribution.image_frequency
        share = share[share > 0]
        thresholds = ', '.join(f'{threshold:g}' for threshold in self.threshold)
        self.warn_if_plain(
            f'all repeat factors are {self.repeat_factors.max():.3g}. Each class is in {share.min():.2g} to '
            f'{share.max():.2g} of the images; threshold={thresholds} tells rare classes from frequent ones only when '
            'it lies between.'
        )

    @cached_property
    def repeat_factors(self) -> np.ndarray:
        """r(I) of each image, not rounded, (N,)."""
        factors = np.stack(
            [self._image_distribution.repeat_factors(t, p) for t, p in zip(self.threshold, self.power)]
        )  # (G, C)
        return image_repeat_factors(self.table, factors[self._groups, np.arange(factors.shape[1])])

    def default_length(self) -> int:
        """The (rounded) sum of the factors."""
        return round(self._draws.sum())

    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`LongTailSampler`; the same in all epochs."""
        return self._draws / self._draws.sum()

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Rounds the factors, and shuffles."""
        counts = stochastic_round(self._draws * (self.length / self._draws.sum()), rng)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)[permutation(self.length, rng)]

    @cached_property
    def _draws(self) -> np.ndarray:
        """Draws of each image in an epoch of default length, (N,)."""
        return np.ceil(self.repeat_factors) if self.rounding == 'ceil' else self.repeat_factors

    @cached_property
    def _image_distribution(self) -> ClassDistribution:
        """Images per class, among all images of the dataset, those without labels included."""
        image_counts = np.bincount(self.table.unique_pairs()[1], minlength=self.table.num_classes)
        return ClassDistribution(image_counts, num_images=len(self.table))

    @cached_property
    def _groups(self) -> np.ndarray:
        """Group of each class, (C,)."""
        if self.group_bounds is None:
            return np.zeros(self.table.num_classes, dtype=np.int64)
        return class_distribution_of(self.dataset).image_groups(self.group_bounds)

    def _per_group(self, name: str, value: float | Sequence[float]) -> tuple[float, ...]:
        num_groups = 1 if self.group_bounds is None else len(self.group_bounds) + 1
        values = (value,) * num_groups if np.isscalar(value) else tuple(value)
        if len(values) != num_groups:
            raise ValueError(
                f'Expected `{name}` to be one number, or {num_groups}, one a group between '
                f'group_bounds={self.group_bounds}, but got {value}.'
            )
        return values
