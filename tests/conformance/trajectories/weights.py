"""Weights, images and projections that are drawn from seeds, and the state of a network compared by projections."""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..frame import Case

__all__ = ['compare_state', 'draw_images', 'draw_state', 'stored_transposed']

EVALUATION = 99999  # in place of the step: the evaluation batch

RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'weight': lambda n: n * math.sqrt(2 / math.prod(n.shape[1:])),
    'weight_in_out': lambda n: n * math.sqrt(2 / n.shape[0]),
    'bn_weight': lambda n: 1 + 0.1 * n,
    'scale': lambda n: 1 + 0.1 * n,
    'bias': lambda n: 0.1 * n,
    'running_mean': lambda n: 0.1 * n,
    'running_var': lambda n: 1 + 0.1 * abs(n),
    'zero': lambda n: 0 * n,
}


def draw_state(entries: Iterable[tuple[int, str, list[int], str]], seed: int) -> dict[str, Tensor]:
    """State dict by the authors' names.

    Args:
        entries: (i, name, shape, rule) of each tensor.
        seed: tensor i is drawn from ``seed + i``.
    """
    return {
        name: torch.as_tensor(RULES[rule](np.random.RandomState(seed + i).standard_normal(shape)))
        for i, name, shape, rule in entries
    }


def stored_transposed(rule: str) -> bool:
    """Whether the authors store a weight drawn by this rule as (in, out)."""
    return rule == 'weight_in_out'


@lru_cache(maxsize=8)
def draw_images(seed: int, step: int, batch: int, size: int = 32, view: int = 0) -> Tensor:
    """The images (N, 3, H, W) of a step."""
    generator = np.random.RandomState(seed + step + 10000 * view)
    return torch.from_numpy(generator.standard_normal((batch, 3, size, size)))


@lru_cache(maxsize=64)
def _projections(size: int) -> np.ndarray:
    return np.stack([np.random.RandomState(77 + k).standard_normal(size) for k in range(3)])


def compare_state(case: Case, prefix: str, state: Iterable[Tensor]) -> None:
    """Compare norm, three projections and the first four entries of each tensor, relative to its norm."""
    flat = [tensor.cpu().double().flatten().numpy() for tensor in state]
    norm = case.arrays[f'{prefix}_norm']
    size = np.where(norm, norm, 1.0)
    case.check(f'{prefix}_norm', [np.linalg.norm(x) for x in flat], norm)
    case.check(f'{prefix}_proj', [_projections(x.size) @ x for x in flat], case.arrays[f'{prefix}_proj'], size[:, None])
    first = [np.append(x[:4], [np.nan] * (4 - x[:4].size)) for x in flat]
    case.check(f'{prefix}_first', first, case.arrays[f'{prefix}_first'], size[:, None])
