"""Many-, medium- and few-shot figures, under each of the three conventions in the field."""

from collections.abc import Sequence

import numpy as np

from ltmm.class_distribution import ClassDistribution, Shots

__all__ = ['SHOT_CONVENTIONS', 'mean_by_shot', 'shots_by_convention']

SHOT_CONVENTIONS = ('decoupling', 'mislas', 'oltr')


def shots_by_convention(
    distribution: ClassDistribution,
    convention: str,
    thresholds: Sequence[int] | None = None,
    num_many: int | None = None,
    num_few: int | None = None,
) -> Shots:
    """Which classes are many-, medium- and few-shot.

    =============  ==========================  =========================  ==========================================
    convention     many-shot                   few-shot                   used by
    =============  ==========================  =========================  ==========================================
    decoupling     more than 100 images        fewer than 20 images       Decoupling, BALMS, LiVT, RIDE
    oltr           at least 100 images         at most 20 images          OLTR, CC-SAM
    mislas         the ``num_many`` classes    the ``num_few`` classes    MiSLAS (CIFAR-100-LT 36 and 29, ImageNet-LT
                   with most images            with fewest images         390 and 165), Prior-LT
    =============  ==========================  =========================  ==========================================

    Args:
        distribution: of the training data.
        convention: a row of the table.
        thresholds: other numbers of images than 100 and 20, many first; not for ``'mislas'``.
        num_many: classes that are many-shot; for ``'mislas'`` only.
        num_few: classes that are few-shot; for ``'mislas'`` only.

    Raises:
        ValueError: an unknown convention, or an argument that the convention has no use for or that is not a pair.
    """
    if convention not in SHOT_CONVENTIONS:
        raise ValueError(f'Expected `convention` to be one of {list(SHOT_CONVENTIONS)}, but got {convention!r}.')
    if convention == 'mislas':
        if num_many is None or num_few is None or thresholds is not None:
            raise ValueError(
                "convention='mislas' groups classes by rank: expected `num_many` and `num_few` and no `thresholds`, "
                f'but got num_many={num_many}, num_few={num_few}, thresholds={thresholds}.'
            )
        return distribution.ranked_shots(num_many, num_few)
    if num_many is not None or num_few is not None:
        raise ValueError(
            f"`num_many` and `num_few` belong to convention='mislas', but got convention={convention!r}, "
            f'num_many={num_many} and num_few={num_few}.'
        )
    if thresholds is None:
        return distribution.shots(inclusive=convention == 'oltr')
    if np.size(thresholds) != 2:
        raise ValueError(f'Expected `thresholds` to be two numbers of images, (many, few), but got {thresholds}.')
    many, few = thresholds
    return distribution.shots(many, few, inclusive=convention == 'oltr')


def mean_by_shot(values: np.ndarray, shots: Shots) -> dict[str, float]:
    """Mean of ``values`` over the classes of each group; NaN for a group without a class that has a value.

    Args:
        values: one figure a class, (C,); NaN is left out.
        shots: the groups.
    """
    means = {}
    for name, mask in shots.items():
        group = values[mask & ~np.isnan(values)]
        means[name] = float(group.mean()) if len(group) else float('nan')
    return means
