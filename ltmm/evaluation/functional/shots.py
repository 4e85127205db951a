"""Many-, medium- and few-shot groups by the conventions in the literature."""

import functools
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.logging import print_log

from ltmm.class_distribution import ClassDistribution
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots, check_thresholds, group_classes

__all__ = ['SHOT_CONVENTIONS', 'check_convention', 'mean_by_shot', 'shots_by_convention']

SHOT_CONVENTIONS = ('decoupling', 'mislas', 'multi_label', 'oltr')
Thresholds = Sequence[int] | Mapping[str, Sequence[float]] | str


def check_convention(
    convention: str = 'decoupling',
    thresholds: Thresholds | None = None,
    num_many: int | None = None,
    num_few: int | None = None,
) -> None:
    """Raise an InputError unless :func:`shots_by_convention` takes these arguments."""
    check(convention=(convention, SHOT_CONVENTIONS))
    if convention == 'mislas':
        if num_many is None or num_few is None or thresholds is not None:
            raise InputError(
                "Expected `num_many` and `num_few` and no `thresholds` with convention='mislas', "
                f'but got num_many={num_many}, num_few={num_few}, thresholds={thresholds}.'
            )
        return
    if num_many is not None or num_few is not None:
        raise InputError(f"`num_many` and `num_few` belong to convention='mislas', but got {convention!r}.")
    if thresholds is not None:
        check_thresholds(thresholds)


def shots_by_convention(
    distribution: ClassDistribution,
    convention: str = 'decoupling',
    thresholds: Thresholds | None = None,
    num_many: int | None = None,
    num_few: int | None = None,
) -> Shots:
    """Split the classes into many-, medium- and few-shot; warn if all are in one group.

    =============  ==========================  =========================  ==========================================
    convention     many-shot                   few-shot                   used by
    =============  ==========================  =========================  ==========================================
    decoupling     more than 100 images        fewer than 20 images       Decoupling, BALMS, LiVT, RIDE
    oltr           at least 100 images         at most 20 images          OLTR, CC-SAM
    multi_label    at least 100 images         fewer than 20 images       Distribution-Balanced Loss (COCO-MLT)
    mislas         the ``num_many`` classes    the ``num_few`` classes    MiSLAS (CIFAR-100-LT 36 and 29, ImageNet-LT
                   with most images            with fewest images         390 and 165), Prior-LT
    =============  ==========================  =========================  ==========================================

    Args:
        distribution: Class distribution of the training data.
        convention: A row of the table.
        thresholds: Other limits than (100, 20): numbers of images, quantiles, ranks or ``'auto'``, see
            :func:`ltmm.utils.shots.group_classes`; not for ``'mislas'``.
        num_many: Number of many-shot classes; only for ``'mislas'``.
        num_few: Number of few-shot classes; only for ``'mislas'``.
    """
    check_convention(convention, thresholds, num_many, num_few)
    if convention == 'mislas':
        return distribution.ranked_shots(num_many, num_few)
    shots = group_classes(
        distribution.image_counts,
        (100, 20) if thresholds is None else thresholds,
        many_inclusive=convention in ('oltr', 'multi_label'),
        few_inclusive=convention == 'oltr',
    )
    if thresholds is None and len(distribution) > 1 and shots.only_group:
        low, high = distribution.image_counts.min(), distribution.image_counts.max()
        message = (
            f'All {len(distribution)} classes are {shots.only_group}-shot by the limits 100 and 20: they have {low} to '
            f'{high} training images.'
        )
        if low < high:
            message += (
                " Set `thresholds` of metrics and hooks: 'auto' for thirds of the classes, or (many, few); by "
                '--cfg-options, val_evaluator.thresholds=auto test_evaluator.0.thresholds=auto (0: first of a list).'
            )
        _warn_once(message)
    return shots


@functools.cache
def _warn_once(message: str) -> None:
    print_log(message, 'current', logging.WARNING)


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
