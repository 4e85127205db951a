"""Long-tailed versions of balanced datasets: how many images each class keeps, and which."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS

from .selection import Selection

__all__ = ['LongTailed', 'long_tailed_counts', 'select_long_tailed']

PROFILES = ('exp', 'pareto', 'step')


def long_tailed_counts(
    max_images: float, num_classes: int, imbalance_factor: float, profile: str = 'exp'
) -> np.ndarray:
    r"""Images each class keeps, (C,), most for class 0.

    With :math:`m` the images of the head class, :math:`\rho` the imbalance factor and :math:`k = 0 \dots C-1`, rounded
    down:

    - ``'exp'``: :math:`m \rho^{-k/(C-1)}`, the profile of the CIFAR-LT benchmarks;
    - ``'step'``: :math:`m` for the first half of the classes, :math:`m/\rho` for the others;
    - ``'pareto'``: :math:`m (k+1)^{-\alpha}` with :math:`\alpha = \log\rho / \log C`, the power law that ends at
      :math:`m/\rho`; a short head and a long flat tail.

    [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``imbalance_cifar.py``. 'exp' and 'step' are equal to [1] to the image;
        'pareto' has no authors' code.

    Args:
        max_images: m.
        num_classes: C.
        imbalance_factor: images of the most frequent class over those of the least frequent; 1 / ``imb_factor`` of [1].
        profile: ``'exp'``, ``'step'`` or ``'pareto'``.

    Raises:
        ValueError: an unknown profile, fewer than two classes, a factor below 1, or one so large that a class would
            keep nothing.
    """
    _check(imbalance_factor, profile)
    if num_classes < 2:
        raise ValueError(f'Expected at least 2 classes, but got {num_classes}.')
    ratio = 1 / imbalance_factor
    if profile == 'exp':
        exponents = [k / (num_classes - 1) for k in range(num_classes)]
    elif profile == 'step':
        exponents = [float(k >= num_classes // 2) for k in range(num_classes)]
    else:
        exponents = [math.log(k + 1) / math.log(num_classes) for k in range(num_classes)]
    counts = [int(max_images * ratio**exponent) for exponent in exponents]  # Python's floats, as in [1]
    if min(counts) < 1:
        raise ValueError(
            f'Expected `imbalance_factor` to leave every class an image, but got {imbalance_factor:g} where the most '
            f'frequent class has {max_images:g}.'
        )
    return np.array(counts)


def select_long_tailed(
    labels: Sequence[int], counts: Sequence[int], seed: int, num_left_out: int | None = None
) -> np.ndarray:
    """Indices of the samples to keep: class after class, each class in shuffled order.

    Equal to github.com/kaidic/LDAM-DRW @2536330, which seeds NumPy's global generator and shuffles the samples of each
    class in ascending order of the classes.

    Args:
        labels: class of each sample, (N,).
        counts: samples to keep per class, (C,).
        seed: of the shuffle; it decides which samples are kept, never how many.
        num_left_out: give samples that are not kept instead, at most this many of each class.

    Raises:
        ValueError: a class has fewer samples than it shall keep.
    """
    available = np.bincount(labels, minlength=len(counts))
    short = np.flatnonzero(available < counts)
    if len(short):
        c = short[0]
        raise ValueError(
            f'Expected class {c} to have at least the {counts[c]} images it shall keep, but it has {available[c]} '
            f'({len(short)} of {len(counts)} classes have too few).'
        )
    by_class = np.split(np.argsort(labels, kind='stable'), np.cumsum(available)[:-1])
    generator = np.random.RandomState(seed)
    for indices in by_class:
        generator.shuffle(indices)
    if num_left_out is not None:
        return np.concatenate([indices[count:][:num_left_out] for indices, count in zip(by_class, counts)])
    return np.concatenate([indices[:count] for indices, count in zip(by_class, counts)])


@DATASETS.register_module()
class LongTailed(Selection):
    """A long-tailed version of a dataset with one label an image: class 0 is the head, the last class the tail.

    The most frequent class keeps as many images as the classes of ``dataset`` have on average (all of its own in a
    balanced dataset). Every rank and every run keeps the same images.

    Args:
        dataset: the dataset, or its config.
        imbalance_factor: images of the most frequent class over those of the least frequent (100, 50, 10).
        profile: shape of the counts, see :func:`long_tailed_counts`.
        seed: of the choice of images; 0 gives the images of the authors' code.
        val_images: give a validation set instead: of each class this many of the images that the long-tailed version
            leaves out, as ImageNet-LT's validation set has 20. A class that keeps all of its images has none there.
        lazy_init: leave reading and choosing to the first use.

    Raises:
        ValueError: a factor below 1, an unknown profile, ``val_images`` below 1, images with several labels, or a class
            with too few images.
    """

    def __init__(
        self,
        dataset: Any,
        imbalance_factor: float,
        profile: str = 'exp',
        seed: int = 0,
        val_images: int | None = None,
        lazy_init: bool = False,
    ) -> None:
        _check(imbalance_factor, profile)
        if val_images is not None and val_images < 1:
            raise ValueError(f'Expected `val_images` to be at least 1, but got {val_images}.')
        self.imbalance_factor, self.profile, self.seed, self.val_images = imbalance_factor, profile, seed, val_images
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`select_long_tailed`."""
        mean = len(table) / table.num_classes
        counts = long_tailed_counts(mean, table.num_classes, self.imbalance_factor, self.profile)
        return select_long_tailed(table.labels, counts, self.seed, self.val_images)


def _check(imbalance_factor: float, profile: str) -> None:
    if profile not in PROFILES:
        raise ValueError(f'Expected `profile` to be one of {sorted(PROFILES)}, but got {profile!r}.')
    if not imbalance_factor >= 1:
        hint = f' ({imbalance_factor} as tail over head is {1 / imbalance_factor:g})' if imbalance_factor > 0 else ''
        raise ValueError(
            f'Expected `imbalance_factor`, head over tail, to be at least 1, but got {imbalance_factor}{hint}.'
        )
