"""Long-tailed versions of balanced datasets."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .selection import Selection

__all__ = ['LongTailed', 'counts_of_total', 'long_tailed_counts', 'select_long_tailed']


def long_tailed_counts(
    max_images: float, num_classes: int, imbalance_factor: float, profile: str = 'exp'
) -> np.ndarray:
    r"""Return the number of images per class, (C,), class 0 the most frequent.

    With :math:`m` images of class 0, imbalance factor :math:`\rho` and :math:`k = 0 \dots C-1`, rounded down:

    - ``'exp'``: :math:`m \rho^{-k/(C-1)}`, the profile of the CIFAR-LT benchmarks;
    - ``'step'``: :math:`m` for the first half of the classes, :math:`m/\rho` for the others;
    - ``'pareto'``: :math:`m (k+1)^{-\alpha}` with :math:`\alpha = \log\rho / \log C`: a power law that ends at
      :math:`m/\rho`, with few frequent classes and a long flat tail.

    References:
        [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
        [1] github.com/kaidic/LDAM-DRW @2536330, ``imbalance_cifar.py``. ``'exp'`` and ``'step'`` give exactly the
            counts of [1].

    Args:
        max_images: m.
        num_classes: C, at least 2.
        imbalance_factor: Images of the most over those of the least frequent class, at least 1; 1 / ``imb_factor`` of
            [1].
        profile: ``'exp'``, ``'step'`` or ``'pareto'``.
    """
    check(
        profile=(profile, ('exp', 'pareto', 'step')),
        imbalance_factor=(float(imbalance_factor), '>= 1'),
        num_classes=(num_classes, 'int >= 2'),
    )
    ratio = 1 / imbalance_factor
    if profile == 'exp':
        exponents = [k / (num_classes - 1) for k in range(num_classes)]
    elif profile == 'step':
        exponents = [float(k >= num_classes // 2) for k in range(num_classes)]
    else:
        exponents = [math.log(k + 1) / math.log(num_classes) for k in range(num_classes)]
    counts = [int(max_images * ratio**exponent) for exponent in exponents]  # Python floats, as in [1]
    if min(counts) < 1:
        raise InputError(
            f'imbalance_factor={float(imbalance_factor):g} leaves no image of the rarest class; the largest has '
            f'{max_images:g}.'
        )
    return np.array(counts)


def counts_of_total(total: int, num_classes: int, imbalance_factor: float, profile: str = 'exp') -> np.ndarray:
    """Return the number of images per class, (C,), of a set of about ``total`` images; rounded down per class.

    References:
        [0] github.com/YyzHarry/imbalanced-semi-self @b91ad29, ``imbalance_cifar.py``. Gives exactly the counts of its
            unlabeled sets.

    Args:
        total: Images of all classes, at least ``imbalance_factor`` per class.
        num_classes: See :func:`long_tailed_counts`.
        imbalance_factor: See :func:`long_tailed_counts`; 1 for a balanced set.
        profile: See :func:`long_tailed_counts`.
    """
    if total < num_classes * imbalance_factor:
        raise InputError(
            f'Expected `num_images` to be at least {math.ceil(num_classes * imbalance_factor)} for {num_classes} '
            f'classes and imbalance_factor={float(imbalance_factor):g}, but got {total}.'
        )
    counts = long_tailed_counts(total // num_classes, num_classes, imbalance_factor, profile)
    return (total / counts.sum() * counts).astype(int)


def select_long_tailed(
    labels: Sequence[int], counts: Sequence[int], seed: int, num_left_out: int | None = None
) -> np.ndarray:
    """Return the indices of the samples to keep, class by class, each class in shuffled order.

    Selects the same samples as github.com/kaidic/LDAM-DRW @2536330, which seeds NumPy's global generator and shuffles
    the samples of each class in ascending order of the classes.

    Args:
        labels: Class of each sample, (N,).
        counts: Samples to keep per class, (C,).
        seed: Seed of the shuffle.
        num_left_out: If given, return instead the samples that are not kept, at most this many per class.
    """
    available = np.bincount(labels, minlength=len(counts))
    short = np.flatnonzero(available < counts)
    if len(short):
        raise InputError(f'Expected {counts[short[0]]} images of class {short[0]}, but got {available[short[0]]}.')
    by_class = np.split(np.argsort(labels, kind='stable'), np.cumsum(available)[:-1])
    generator = np.random.RandomState(seed)
    for indices in by_class:
        generator.shuffle(indices)
    if num_left_out is not None:
        return np.concatenate([indices[count:][:num_left_out] for indices, count in zip(by_class, counts)])
    return np.concatenate([indices[:count] for indices, count in zip(by_class, counts)])


@DATASETS.register_module()
class LongTailed(Selection):
    """A long-tailed version of a single-label dataset: class 0 is the most frequent, the last class the rarest.

    By default, class 0 keeps as many images as a class of ``dataset`` has on average (all of its images if ``dataset``
    is balanced).

    Args:
        dataset: The dataset, or its config.
        imbalance_factor: Images of the most over those of the least frequent class, for example 100; 1 for a balanced
            set. A ``Fraction`` is exact.
        profile: Shape of the class counts, see :func:`long_tailed_counts`.
        seed: Seed of the selection; 0 selects the images of the authors' code.
        val_images: If given, return a validation set instead: this many of the left-out images of each class. A class
            that keeps all of its images has none.
        num_images: Images of all classes, see :func:`counts_of_total`, so that sets of different imbalance factors have
            the same size. At least ``imbalance_factor`` per class.
        max_images: Images of class 0, in place of ``num_images``.
        lazy_init: Load and select on first use.
    """

    def __init__(
        self,
        dataset: Any,
        imbalance_factor: float | Fraction,
        profile: str = 'exp',
        seed: int = 0,
        val_images: int | None = None,
        num_images: int | None = None,
        max_images: int | None = None,
        lazy_init: bool = False,
    ) -> None:
        check(val_images=(val_images, 'int >= 1 or None'), num_images=(num_images, 'int >= 1 or None'))
        factor = float(imbalance_factor) if isinstance(imbalance_factor, Fraction) else imbalance_factor
        check(max_images=(max_images, 'int >= 1 or None'), imbalance_factor=(factor, '>= 1'))
        if None not in (num_images, max_images):
            raise InputError(f'Expected `num_images` or `max_images`, but got both, {num_images} and {max_images}.')
        self.imbalance_factor, self.profile, self.seed, self.val_images = imbalance_factor, profile, seed, val_images
        self.num_images, self.max_images = num_images, max_images
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`select_long_tailed`."""
        shape = table.num_classes, self.imbalance_factor, self.profile
        if self.num_images is None:
            counts = long_tailed_counts(self.max_images or len(table) / table.num_classes, *shape)
        else:
            counts = counts_of_total(self.num_images, *shape)
        return select_long_tailed(table.labels, counts, self.seed, self.val_images)
