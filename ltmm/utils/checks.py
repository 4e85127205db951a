"""One-line checks of arguments."""

import re
from collections.abc import Container
from math import inf
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ['check']

LIST = 'a list of '
CONDITIONS = {
    'finite': lambda x: np.isfinite(x),
    '>= 0': lambda x: (x >= 0) & (x < inf),
    '> 0': lambda x: (x > 0) & (x < inf),
    '>= 1': lambda x: (x >= 1) & (x < inf),
    '> 1': lambda x: (x > 1) & (x < inf),
    '>= 2': lambda x: (x >= 2) & (x < inf),
    'in [0, 1]': lambda x: (x >= 0) & (x <= 1),
    'in [0, 1)': lambda x: (x >= 0) & (x < 1),
    'in (0, 1]': lambda x: (x > 0) & (x <= 1),
    'in (0, 1)': lambda x: (x > 0) & (x < 1),
}


def check(**arguments: tuple[Any, str | Container]) -> None:
    """Raise an InputError (a ValueError) unless every argument satisfies its condition.

    Args:
        arguments: ``name=(value, condition)``. A condition is a key of ``CONDITIONS``, which has to hold for each
            element of a sequence; the same after ``'int '``, for whole numbers; either after ``'a list of '``, which
            refuses a single number; any of them followed by ``' or None'``; ``'a file name'``, without a
            folder; or a container of the allowed values.

    Examples:
        >>> check(tau=(1.0, '>= 0'), stages=(3, 'int >= 1'), reduction=('mean', ('none', 'mean', 'sum')))
        >>> check(tau=(-1.0, '>= 0'))
        Traceback (most recent call last):
        ltmm.utils.errors.InputError: Expected `tau` to be >= 0, but got -1.0.
    """
    for name, (value, condition) in arguments.items():
        if not _holds(value, condition):
            expected = condition if isinstance(condition, str) else f'one of {list(condition)}'
            raise InputError(f'Expected `{name}` to be {expected}, but got {value!r}.')


def _holds(value: Any, condition: str | Container) -> bool:
    if not isinstance(condition, str):
        return value in condition
    if condition == 'a file name':
        return isinstance(value, str) and value not in ('', '.', '..') and not re.search(r'[/\0]', value)
    if value is None:
        return condition.endswith(' or None')
    condition = condition.removesuffix(' or None')
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    if condition.startswith(LIST) and array.ndim != 1:
        return False
    condition = condition.removeprefix(LIST).replace('numbers', '').strip()
    kinds = 'iu' if condition.startswith('int ') else 'iuf'
    return (
        array.dtype.kind in kinds and array.size > 0 and bool(CONDITIONS[condition.removeprefix('int ')](array).all())
    )
