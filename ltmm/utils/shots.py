"""Groups of classes by training images: many-, medium- and few-shot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import check
from .errors import InputError

__all__ = ['SHOT_NAMES', 'Shots', 'check_thresholds', 'group_classes', 'thirds']

SHOT_NAMES = ('many', 'medium', 'few')
THIRDS = dict(quantile=(2 / 3, 1 / 3))


@dataclass(frozen=True)
class Shots:
    """Boolean masks (C,) of the many-, medium- and few-shot classes."""

    many: np.ndarray
    medium: np.ndarray
    few: np.ndarray

    def items(self) -> list[tuple[str, np.ndarray]]:
        """Return the names and masks of the groups, many-shot first."""
        return list(zip(SHOT_NAMES, (self.many, self.medium, self.few)))

    def names(self) -> list[str]:
        """Return the name of the group of each class."""
        return [SHOT_NAMES[i] for i in np.argmax([self.many, self.medium, self.few], axis=0)]

    @property
    def only_group(self) -> str | None:
        """The group that holds all classes, if one does."""
        return next((name for name, mask in self.items() if mask.all()), None)


def check_thresholds(thresholds: Any) -> None:
    """Raise an InputError unless :func:`group_classes` takes these."""
    if isinstance(thresholds, str) and thresholds == 'auto':
        return
    kind, bounds = 'number', thresholds
    if isinstance(thresholds, Mapping) and len(thresholds) == 1:
        ((kind, bounds),) = thresholds.items()
    if kind not in ('number', 'quantile', 'rank') or isinstance(bounds, (str, Mapping)) or np.shape(bounds) != (2,):
        raise InputError(
            'Expected `thresholds` to be two numbers of images, (many, few), dict(quantile=(many, few)), '
            f"dict(rank=(many, few)) or 'auto', but got {thresholds!r}."
        )
    condition = dict(number='>= 0', quantile='in [0, 1]', rank='int >= 0')[kind]
    check(thresholds=(bounds, condition))
    if kind != 'rank' and bounds[1] > bounds[0]:
        raise InputError(f'Expected `thresholds` with few <= many, but got few={bounds[1]} and many={bounds[0]}.')


def group_classes(
    counts: np.ndarray,
    thresholds: Sequence[int] | Mapping[str, Sequence[float]] | str,
    *,
    default: Sequence[int] = (100, 20),
    many_inclusive: bool = False,
    few_inclusive: bool = False,
) -> Shots:
    """Split the classes into many-, medium- and few-shot.

    ================================  ==================================================================================
    thresholds                        groups
    ================================  ==================================================================================
    ``(100, 20)``                     many-shot: more than 100 images, few-shot: fewer than 20
    ``dict(quantile=(2/3, 1/3))``     the same, with these quantiles of the images per class in place of 100 and 20
    ``dict(rank=(36, 29))``           many-shot: the 36 classes with most images, few-shot: the 29 with fewest
    ``'auto'``                        ``default``, unless it puts all classes into one group; then thirds of the
                                      classes, ``dict(quantile=(2/3, 1/3))``
    ================================  ==================================================================================

    Numbers and quantiles never separate classes with equally many images: a class exactly at a bound is medium-shot
    unless the bound is inclusive. Ranks do: the lower label counts as more frequent. Quantiles are of the classes with
    images; a class without is few-shot.

    Args:
        counts: Training images per class, (C,).
        thresholds: A row of the table.
        default: Numbers of images for ``'auto'``.
        many_inclusive: Whether classes at the upper bound are many-shot.
        few_inclusive: Whether classes at the lower bound are few-shot.
    """
    check_thresholds(thresholds)
    inclusive = dict(many_inclusive=many_inclusive, few_inclusive=few_inclusive)
    if isinstance(thresholds, str):
        shots = group_classes(counts, default, **inclusive)
        return shots if shots.only_group is None else group_classes(counts, THIRDS, **inclusive)
    if isinstance(thresholds, Mapping) and 'rank' in thresholds:
        return _by_rank(counts, *thresholds['rank'])
    if isinstance(thresholds, Mapping):
        many, few = np.quantile(counts[counts > 0], thresholds['quantile'])
    else:
        many, few = thresholds
    is_many = (counts >= many if many_inclusive else counts > many) & (counts > 0)
    is_few = (counts <= few if few_inclusive else counts < few) & ~is_many
    if isinstance(thresholds, Mapping):
        is_few |= counts == 0
    return Shots(many=is_many, medium=~is_many & ~is_few, few=is_few)


def _by_rank(counts: np.ndarray, many: int, few: int) -> Shots:
    if many + few > len(counts):
        raise InputError(f'Expected many + few <= {len(counts)} classes, but got {many} + {few}.')
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind='stable')] = np.arange(len(counts))
    is_many, is_few = rank < many, rank >= len(counts) - few
    return Shots(many=is_many, medium=~is_many & ~is_few, few=is_few)


def thirds(counts: np.ndarray) -> Shots:
    """Group the third of the classes with most images, the third with fewest, and the others, by rank.

    Args:
        counts: Training images per class, (C,).
    """
    size = len(counts) // 3
    return _by_rank(counts, size, size)
