"""Many-, medium- and few-shot groups by the three conventions in the literature."""

from collections.abc import Sequence

import numpy as np

from ltmm.class_distribution import ClassDistribution, Shots, check_thresholds
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['SHOT_CONVENTIONS', 'mean_by_shot', 'shots_by_convention']

SHOT_CONVENTIONS = ('decoupling', 'mislas', 'oltr')


def shots_by_convention(
    distribution: ClassDistribution,
    convention: str = 'decoupling',
    thresholds: Sequence[int] | None = None,
    num_many: int | None = None,
    num_few: int | None = None,
) -> Shots:
    """Split the classes into many-, medium- and few-shot.

    =============  ==========================  =========================  ==========================================
    convention     many-shot                   few-shot                   used by
    =============  ==========================  =========================  ==========================================
    decoupling     more than 100 images        fewer than 20 images       Decoupling, BALMS, LiVT, RIDE
    oltr           at least 100 images         at most 20 images          OLTR, CC-SAM
    mislas         the ``num_many`` classes    the ``num_few`` classes    MiSLAS (CIFAR-100-LT 36 and 29, ImageNet-LT
                   with most images            with fewest images         390 and 165), Prior-LT
    =============  ==========================  =========================  ==========================================

    Args:
        distribution: Class distribution of the training data.
        convention: A row of the table.
        thresholds: Numbers of images (many, few) instead of (100, 20); not for ``'mislas'``.
        num_many: Number of many-shot classes; only for ``'mislas'``.
        num_few: Number of few-shot classes; only for ``'mislas'``.
    """
    check(convention=(convention, SHOT_CONVENTIONS))
    if convention == 'mislas':
        if num_many is None or num_few is None or thresholds is not None:
            raise InputError(
                "Expected `num_many` and `num_few` and no `thresholds` with convention='mislas', "
                f'but got num_many={num_many}, num_few={num_few}, thresholds={thresholds}.'
            )
        return distribution.ranked_shots(num_many, num_few)
    if num_many is not None or num_few is not None:
        raise InputError(f"`num_many` and `num_few` belong to convention='mislas', but got {convention!r}.")
    if thresholds is None:
        return distribution.shots(inclusive=convention == 'oltr')
    check_thresholds(thresholds)
    return distribution.shots(*thresholds, inclusive=convention == 'oltr')


def mean_by_shot(values: np.ndarray, shots: Shots) -> dict[str, float]:
    """Mean over the classes of each group, ignoring NaN; NaN for a group without a value.

    Args:
        values: One figure per class, (C,).
        shots: The groups.
    """
    means = {}
    for name, mask in shots.items():
        group = values[mask & ~np.isnan(values)]
        means[name] = float(group.mean()) if len(group) else float('nan')
    return means
