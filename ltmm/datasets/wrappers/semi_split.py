"""A labeled and an unlabeled part of a dataset, each with its own class prior."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .long_tailed import counts_of_total
from .selection import Selection

__all__ = ['SemiSplit', 'labeled_counts', 'unlabeled_counts']

PARTS = ('labeled', 'unlabeled')
PRIORS = ('consistent', 'uniform', 'reversed')


def labeled_counts(max_images: int, num_classes: int, imbalance_factor: float) -> np.ndarray:
    r"""Return :math:`\lfloor m \rho^{-k/(C-1)} \rfloor` images per class k, (C,), class 0 the most frequent.

    Args:
        max_images: m, images of class 0.
        num_classes: C.
        imbalance_factor: :math:`\rho`.
    """
    powers = [max_images * imbalance_factor ** (-k / (num_classes - 1)) for k in range(num_classes - 1)]
    counts = np.array([int(count) for count in (*powers, max_images / imbalance_factor)])
    if counts.min() < 1:
        raise InputError(
            f'imbalance_factor={float(imbalance_factor):g} leaves no image of the rarest class; the largest has '
            f'{max_images}.'
        )
    return counts


def unlabeled_counts(
    num_classes: int,
    prior: str | Sequence[float],
    imbalance_factor: float,
    max_images: int | None = None,
    total: int | None = None,
) -> np.ndarray:
    """Return the number of unlabeled images per class, (C,), from the size of the largest class or of all.

    Args:
        num_classes: C.
        prior: ``'consistent'``: falling from class 0 on as the labeled ones; ``'uniform'``; ``'reversed'``: rising; or
            C shares of any sum.
        imbalance_factor: Of ``'consistent'`` and ``'reversed'``.
        max_images: Images of the largest class.
        total: Images of all classes, rounded down twice as in imbalanced-semi-self; see :func:`counts_of_total`.
    """
    if (max_images is None) == (total is None):
        raise InputError(
            f'Expected the size of the largest class or of all unlabeled images, but got {max_images} and {total}: set '
            'either `max_unlabeled` or `num_unlabeled`.'
        )
    if not isinstance(prior, str):
        check(prior=(prior, '>= 0'))
        shares = np.asarray(prior, dtype=float)
        if shares.shape != (num_classes,) or not shares.any():
            raise InputError(f'Expected `prior` to be {num_classes} shares >= 0, not all 0, but got {prior}.')
        scale = total / shares.sum() if max_images is None else max_images / shares.max()
        return np.floor(shares * scale + 1e-9).astype(int)
    check(prior=(prior, PRIORS))
    factor = 1 if prior == 'uniform' else imbalance_factor
    if max_images is None:
        counts = counts_of_total(total, num_classes, factor)
    else:
        counts = labeled_counts(max_images, num_classes, factor)
    return counts[::-1].copy() if prior == 'reversed' else counts


@DATASETS.register_module()
class SemiSplit(Selection):
    """The labeled or the unlabeled part of a dataset: the labeled one has a long tail, the unlabeled one any prior.

    Both parts belong in an ``ltmm.SemiSupervised``, which hides the labels of the unlabeled one. Of each class, the
    first images are labeled; the unlabeled part has the next ones, and by default the labeled ones too.

    ====================  =======================================================================================
    protocol              options
    ====================  =======================================================================================
    ACR, SimPro on CIFAR  ``max_labeled=50, max_unlabeled=400`` or ``150, 300`` (CIFAR-100), ``500, 4000`` or
                          ``1500, 3000`` (CIFAR-10); the first images in the order of the files, as in [1]
    imbalanced-semi-self  ``num_unlabeled`` of five times the labeled images, ``include_labeled=False``. Its pool is
                          withdrawn (80 Million Tiny Images); here it is the rest of the images
    ====================  =======================================================================================

    References:
        [0] Wei and Gan, Towards Realistic Long-Tailed Semi-Supervised Learning: Consistency Is All You Need, CVPR 2023.
        [1] github.com/Gank0078/ACR @9a8f421, ``dataset/cifar.py``; github.com/YyzHarry/imbalanced-semi-self @b91ad29.

    Args:
        dataset: A dataset with one label per image, or its config.
        part: ``'labeled'`` or ``'unlabeled'``.
        max_labeled: Labeled images of class 0, the most frequent.
        imbalance_factor: Of the labeled part.
        prior: Of the unlabeled part, see :func:`unlabeled_counts`.
        unlabeled_imbalance_factor: Of the unlabeled part. Default: ``imbalance_factor``.
        max_unlabeled: Unlabeled images of the largest class, beside the labeled ones.
        num_unlabeled: In its place, all of them.
        include_labeled: Let the unlabeled part have the labeled images too; :attr:`also_labeled` tells which.
        seed: Shuffle each class first. Default: the order of the dataset.
        lazy_init: Load and split on first use.

    Attributes:
        also_labeled: Whether each image is a labeled one, (N,).
    """

    def __init__(
        self,
        dataset: Any,
        part: str,
        max_labeled: int,
        imbalance_factor: float,
        prior: str | Sequence[float] = 'consistent',
        unlabeled_imbalance_factor: float | None = None,
        max_unlabeled: int | None = None,
        num_unlabeled: int | None = None,
        include_labeled: bool = True,
        seed: int | None = None,
        lazy_init: bool = False,
    ) -> None:
        check(
            part=(part, PARTS),
            max_labeled=(max_labeled, 'int >= 1'),
            imbalance_factor=(imbalance_factor, '>= 1'),
            unlabeled_imbalance_factor=(unlabeled_imbalance_factor, '>= 1 or None'),
            max_unlabeled=(max_unlabeled, 'int >= 1 or None'),
            num_unlabeled=(num_unlabeled, 'int >= 1 or None'),
            seed=(seed, 'int >= 0 or None'),
        )
        if part == 'labeled' and (not isinstance(prior, str) or prior != 'consistent' or unlabeled_imbalance_factor):
            raise InputError(
                'SemiSplit: `prior` and `unlabeled_imbalance_factor` are for the unlabeled part, but the labeled one '
                f'got {prior!r} and {unlabeled_imbalance_factor}.'
            )
        self.part, self.include_labeled, self.seed = part, include_labeled, seed
        self.labeled = dict(max_images=max_labeled, imbalance_factor=imbalance_factor)
        self.unlabeled = dict(
            prior=prior,
            imbalance_factor=unlabeled_imbalance_factor or imbalance_factor,
            max_images=max_unlabeled,
            total=num_unlabeled,
        )
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """Take the first images of each class, class by class; in the unlabeled part those after them."""
        first = labeled_counts(num_classes=table.num_classes, **self.labeled)
        further = 0 * first  # nobody told the labeled part how many the other one has
        if self.part == 'unlabeled':
            further = unlabeled_counts(table.num_classes, **self.unlabeled)
        available = np.bincount(table.labels, minlength=table.num_classes)
        short = np.flatnonzero(available < first + further)
        if len(short):
            label = short[0]
            raise InputError(
                f'SemiSplit: expected {first[label]} labeled and {further[label]} unlabeled images of class {label}, '
                f'but the dataset has {available[label]}: lower max_labeled, max_unlabeled or num_unlabeled.'
            )
        order = np.arange(len(table)) if self.seed is None else np.random.default_rng(self.seed).permutation(len(table))
        order = order[np.argsort(table.labels[order], kind='stable')]
        rank = np.arange(len(table)) - np.repeat(np.cumsum(available) - available, available)  # within the class
        label = table.labels[order]
        is_labeled, is_further = rank < first[label], rank < (first + further)[label]
        if self.part == 'labeled':
            chosen = is_labeled
        else:
            chosen = is_further if self.include_labeled else is_further & ~is_labeled
        self.also_labeled = is_labeled[chosen]
        return order[chosen]
