"""Intervals of a mean over classes."""

import numpy as np

__all__ = ['group_interval']

NUM_REPLICATES = 2000


def group_interval(
    values: np.ndarray, num_images: np.ndarray | None, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap the mean over the classes of a group; (low, high) in the unit of the values.

    Args:
        values: Figure per class in percent, without NaN, (C,).
        num_images: Test images per class, (C,), if the figure is an accuracy: the images of each class are drawn anew,
            so that the correct ones follow a binomial distribution. None for other figures: the classes are drawn anew.
        level: Coverage.
        seed: Seed of the generator.
    """
    rng = np.random.default_rng(seed)
    if num_images is None:
        means = values[rng.integers(len(values), size=(NUM_REPLICATES, len(values)))].mean(1)
    else:
        hits = rng.binomial(num_images, np.clip(values / 100, 0, 1), size=(NUM_REPLICATES, len(values)))
        means = 100 * (hits / num_images).mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
