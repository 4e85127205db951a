"""Types other than tensors that checkpoints may hold: numpy's numbers and arrays, and MMEngine's log of a scalar.

``torch.load(..., weights_only=True)`` creates objects only from a list of functions and classes. numpy's own cannot be
on it, as they trust the sizes and flags in a file; MMEngine's list even has ``getattr``. Those here stand in for them,
and check what they are given.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

__all__ = ['PickledArray', 'allowed_types']


class _Dtype:
    """A numeric or string dtype."""

    def __new__(cls, spec: Any, align: Any = False, copy: Any = False) -> '_Dtype':
        if not isinstance(spec, str) or not re.fullmatch(r'[biuf][1-8]|f16|U\d{1,6}', spec):
            raise UnpicklingError(f'Expected a numeric array, but got dtype {spec!r}')
        self = super().__new__(cls)
        self.value = np.dtype(spec)
        return self

    def __setstate__(self, state: tuple) -> None:
        self.value = self.value.newbyteorder({'<': '<', '>': '>'}.get(state[1], '='))


class PickledArray(np.ndarray):
    """A numeric array."""

    def __new__(cls, *args: Any) -> 'PickledArray':
        raise UnpicklingError('Expected an array from _reconstruct')

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        is_whole = all(type(n) is int and n >= 0 for n in shape) and len(data) == prod(shape) * dtype.value.itemsize
        if not is_whole or type(data) is not bytes:
            raise UnpicklingError('Expected an array with as many numbers as its shape says')
        super().__setstate__((1, tuple(shape), dtype.value, bool(is_fortran), data))


class _History(HistoryBuffer):
    """MMEngine's log of a scalar, without the functions that are pickled with it."""

    def __setstate__(self, state: dict) -> None:
        self.__init__(state['_log_history'], state['_count_history'], state['max_length'])


def _reconstruct(*args: Any) -> PickledArray:
    return np.zeros(0).view(PickledArray)


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.value, 1).item()


def _array_class(*args: Any) -> None:
    raise UnpicklingError('Expected an array from _reconstruct')


def _statistic(*args: Any) -> None:
    """Stands for ``getattr(HistoryBuffer, 'mean')``."""


def _alias(thing: type | Callable, path: str) -> type | Callable:
    """Return ``thing`` under the name by which a pickle asks for it."""
    module, name = path.rsplit('.', 1)
    if isinstance(thing, type):
        return type(name, (thing,), dict(__module__=module, __qualname__=name))

    def alias(*args: Any) -> Any:
        return thing(*args)

    alias.__module__, alias.__name__, alias.__qualname__ = module, name, name
    return alias


ALLOWED = [
    PickledArray,
    _alias(_Dtype, 'numpy.dtype'),
    _alias(_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    _alias(_array_class, 'numpy.ndarray'),
    _alias(_reconstruct, 'numpy._core.multiarray._reconstruct'),
    _alias(_reconstruct, 'numpy.core.multiarray._reconstruct'),
    _alias(_scalar, 'numpy._core.multiarray.scalar'),
    _alias(_scalar, 'numpy.core.multiarray.scalar'),
    _alias(_statistic, 'builtins.getattr'),
]


@contextmanager
def allowed_types() -> Iterator[None]:
    """Let ``torch.load`` create the types above."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(ALLOWED)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
