"""How much a spatial attention selects, and whether it looks at the image."""

from collections.abc import Sequence

import numpy as np

from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots

__all__ = ['attention_rows', 'attention_summary']


def attention_rows(weights: np.ndarray, change: np.ndarray, label: np.ndarray, shots: Shots) -> list[dict]:
    r"""Return the mean of three measures over all images and over those of each group.

    ``'positions'``: :math:`e^{-\sum_p a_p \ln a_p}`, how many positions an image's attention a is spread over, from 1
    to all. ``'own'``: :math:`\frac{1}{2} \sum_p |a_p - \bar a_p|`, how much of the attention, in percent, is elsewhere
    than the mean over all images has it; 0 for a map that does not depend on the image. ``'change'``: as given.

    Args:
        weights: a, (N, H, W), which sum to 1 over each image.
        change: How much the attention changes the feature maps, in percent of their norm, (N,).
        label: Class indices, (N,).
        shots: Groups of the C classes.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    if not np.allclose(flat.sum(axis=1), 1, atol=1e-3) or (flat < 0).any():  # NaN is not close
        raise InputError('Expected weights >= 0 that sum to 1 over each image.')
    logs = np.log(np.where(flat > 0, flat, 1))
    values = dict(
        positions=np.exp(-(flat * logs).sum(axis=1)),
        own=50 * np.abs(flat - flat.mean(axis=0)).sum(axis=1),
        change=change,
    )
    rows = []
    for name, mask in [('all', np.ones_like(shots.many)), *shots.items()]:
        if (chosen := mask[label]).any():
            means = {key: float(value[chosen].mean()) for key, value in values.items()}
            rows.append(dict(group=name, images=int(chosen.sum()), **means))
    return rows


def attention_summary(rows: Sequence[dict], num_positions: int) -> str:
    """Return a table of :func:`attention_rows`.

    Args:
        rows: See there.
        num_positions: H W.
    """
    positions = f'positions of {num_positions}'
    lines = [f'{"":<10}{"images":>8}{positions:>20}{"own to the image (%)":>24}{"change of maps (%)":>22}']
    for row in rows:
        measures = f'{row["positions"]:>20.1f}{row["own"]:>24.1f}{row["change"]:>22.2f}'
        lines.append(f'{row["group"]:<10}{row["images"]:>8}{measures}')
    return '\n'.join(lines)
