"""When two arrays count as equal."""

from typing import Any

import numpy as np
from torch import Tensor

__all__ = ['relative_error', 'to_numpy', 'tolerance']

RELATIVE_TOLERANCE = {'float64': 1e-6, 'float32': 1e-4}
# An element smaller than this share of the largest one is measured against that share: the rounding of p - 1, say, is
# relative to 1. Tolerance * floor stays above 15 units of rounding of the largest element: 1e-12 and 1e-6 of it.
FLOOR = {'float64': 1e-6, 'float32': 1e-2}


def to_numpy(value: Any) -> np.ndarray:
    """Tensors, numbers and lists as an array."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def tolerance(expected: np.ndarray) -> float:
    """Largest relative error allowed to ``expected``: by its precision; 0 for whole numbers, booleans and strings."""
    return RELATIVE_TOLERANCE[expected.dtype.name] if expected.dtype.kind == 'f' else 0.0


def relative_error(got: np.ndarray, expected: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
    """Relative error of each element; infinite where a NaN, an infinity, or an exact value is missed.

    Args:
        got: what was computed, of the shape of ``expected``.
        expected: the authors' numbers.
        size: what each element is measured against; the absolute value of ``expected`` when left out.
    """
    same = (got == expected) | ((got != got) & (expected != expected))
    if expected.dtype.kind != 'f':
        return np.where(same, 0.0, np.inf)
    finite = np.isfinite(expected)
    if size is None:
        size = np.abs(expected, where=finite, out=np.zeros(expected.shape))
    scale = FLOOR[expected.dtype.name] * (size.max(initial=0) or 1.0)  # zeros are measured against 1
    with np.errstate(invalid='ignore'):
        error = np.abs(got.astype(np.float64) - expected) / np.maximum(size, scale)
    return np.where(same, 0.0, np.where(finite & np.isfinite(got), error, np.inf))
