"""Weights and images drawn from seeds, and states of networks compared by norm, projections and first entries."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..frame import Case

__all__ = [
    'EVALUATION',
    'PLAIN',
    'TRANSPOSED',
    'cifar_depth',
    'compare_state',
    'draw_images',
    'draw_state',
    'rule_of_name',
]

EVALUATION = 99999  # in place of the step: the evaluation batch
PLAIN = 40000  # in place of the first step: the training images of which features are computed
TRANSPOSED = ('weight_in_out', 'in_out')  # rules of weights that the authors store as (in, out)

RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(('weight', 'fan_in'), lambda n: n * math.sqrt(2 / math.prod(n.shape[1:]))),
    **dict.fromkeys(TRANSPOSED, lambda n: n * math.sqrt(2 / n.shape[0])),
    **dict.fromkeys(('bn_weight', 'scale'), lambda n: 1 + 0.1 * n),
    **dict.fromkeys(('bias', 'bn_bias', 'running_mean', 'bn_mean', 'normal01'), lambda n: 0.1 * n),
    **dict.fromkeys(('running_var', 'bn_var'), lambda n: 1 + 0.1 * abs(n)),
    'kaiming_fan_out': lambda n: n * math.sqrt(2 / n.shape[0]),
    'normal_0.01': lambda n: 0.01 * n,
    'zero': np.zeros_like,
    'one': np.ones_like,
    'minus_one': lambda n: np.full_like(n, -1),
    'queue_rows': lambda n: n / np.linalg.norm(n, axis=1, keepdims=True),
    'queue_cols': lambda n: n / np.linalg.norm(n, axis=0, keepdims=True),
}


def draw_state(
    entries: Iterable[tuple[int, str, Sequence[int], str]], seed: int, num_classes: int = 0
) -> dict[str, Tensor]:
    """State dict by the authors' names.

    Args:
        entries: (i, name, shape, rule) of each tensor.
        seed: tensor i is drawn from ``seed + i``.
        num_classes: of the labels in a queue.
    """
    state = {}
    for i, name, shape, rule in entries:
        generator = np.random.RandomState(seed + i)
        if rule.startswith('copy:'):
            value = state[rule.removeprefix('copy:')].clone()
        elif rule == 'queue_labels':
            value = generator.randint(0, num_classes, shape)
        elif rule.startswith('constant '):
            value = np.full(shape, float(rule.removeprefix('constant ')))
        else:
            value = RULES[rule](generator.standard_normal(shape))
        state[name] = torch.as_tensor(value)
    return state


def rule_of_name(name: str, shape: Sequence[int]) -> str:
    """Rule of a tensor in the files that give names and shapes only."""
    if len(shape) > 1:
        return 'weight'
    kind = name.rpartition('.')[2]
    return dict(weight='bn_weight', num_batches_tracked='zero').get(kind, kind)


def cifar_depth(entries: Iterable[Sequence]) -> int:
    """Depth 6 n + 2 of a CIFAR network, with n blocks in the first stage.

    Args:
        entries: (i, name, shape, ...) of each tensor.
    """
    blocks = {match[1] for _, name, *_ in entries if (match := re.search(r'\blayer1\.(\d+)\.', name))}
    return 6 * len(blocks) + 2


@lru_cache(maxsize=8)
def draw_images(seed: int, step: int, batch: int, size: int = 32, view: int = 0) -> Tensor:
    """The images (N, 3, H, W) of a step."""
    generator = np.random.RandomState(seed + step + 10000 * view)
    return torch.from_numpy(generator.standard_normal((batch, 3, size, size)))


@lru_cache(maxsize=64)
def _projections(size: int) -> np.ndarray:
    return np.stack([np.random.RandomState(77 + k).standard_normal(size) for k in range(3)])


def compare_state(case: Case, prefix: str, state: Iterable[Tensor]) -> None:
    """Compare norm, three projections and the first four entries of each tensor, relative to its norm.

    The case holds them as ``<prefix>_norm``, ``<prefix>_proj`` and ``<prefix>_first``, with NaN where there are fewer
    than four entries, or side by side as ``<prefix>`` with zeros there.
    """
    if f'{prefix}_norm' in case:
        columns = [case.arrays[f'{prefix}_{part}'] for part in ('norm', 'proj', 'first')]
        expected, filler = np.column_stack(columns), np.nan
    else:
        expected, filler = case.arrays[prefix], 0.0
    rows = []
    for tensor in state:
        x = tensor.cpu().double().flatten().numpy()
        rows.append([np.linalg.norm(x), *_projections(x.size) @ x, *x[:4], *[filler] * (4 - x[:4].size)])
    norm = expected[:, :1]
    case.check(prefix, rows, expected, np.where(norm, norm, 1.0))
