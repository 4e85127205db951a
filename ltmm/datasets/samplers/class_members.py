"""Samples of each class, with vectorized draws from their shuffled cycles."""

from dataclasses import dataclass

import numpy as np
import torch

from ltmm.datasets.labels.label_table import LabelTable

__all__ = ['ClassMembers', 'permutation']


@dataclass(frozen=True, eq=False)
class ClassMembers:
    """Samples of each class, class by class; a multi-label sample is a member of each of its classes.

    Args:
        samples: Members of class 0, then of class 1, and so on, (P,).
        counts: Number of members per class, (C,).
    """

    samples: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_table(cls, table: LabelTable) -> 'ClassMembers':
        """Group the samples of a label table by class."""
        samples, classes = table.unique_pairs()  # (P,), (P,)
        order = np.argsort(classes, kind='stable')
        return cls(samples[order].astype(np.int32), np.bincount(classes, minlength=table.num_classes))

    def sample_probability(self, class_probability: np.ndarray, num_samples: int) -> np.ndarray:
        """Return the probability of each sample if a class is drawn first, (C,), then one of its members, (N,)."""
        shares = class_probability / np.maximum(self.counts, 1)
        return np.bincount(self.samples, np.repeat(shares, self.counts), minlength=num_samples)

    def draw(self, num_draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw ``num_draws`` (C,) members of the classes, in one random order, (sum of num_draws,).

        The numbers of draws of two members of a class differ by at most 1.
        """
        full, rest = np.divmod(num_draws, np.maximum(self.counts, 1))
        # in a random order of the class, the first `rest` members are drawn once more than the others
        times = np.stack([full + 1, full], axis=1).ravel()  # (2C,)
        members = np.stack([rest, self.counts - rest], axis=1).ravel()
        draws = np.repeat(_shuffle_groups(self.samples, self.counts, rng), np.repeat(times, members))
        return draws[permutation(len(draws), rng)]

    def cycles(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the members of every class in shuffled cycles, (C, num_draws); every class needs a member.

        A cycle holds all members of the class in random order; the next cycle has another order.
        """
        num_cycles = -(-num_draws // self.counts)  # (C,)
        lengths = np.repeat(self.counts, num_cycles)  # of each cycle of each class
        shifts = np.repeat(np.cumsum(self.counts) - self.counts, num_cycles) - (np.cumsum(lengths) - lengths)
        member = np.arange(lengths.sum(), dtype=np.int32) + np.repeat(shifts.astype(np.int32), lengths)
        orders = _shuffle_groups(self.samples[member], lengths, rng)  # all cycles of all classes, one after another
        lengths = self.counts * num_cycles  # of all cycles of each class, (C,)
        return orders[(np.cumsum(lengths) - lengths)[:, None] + np.arange(num_draws)]


def permutation(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation of ``range(size)``, int32. PyTorch takes half the time of NumPy."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return torch.randperm(size, generator=generator, dtype=torch.int32).numpy()


def _shuffle_groups(values: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle each group of consecutive values; ``lengths`` are the sizes of the groups."""
    order = permutation(len(values), rng)
    group = np.repeat(np.arange(len(lengths), dtype=np.min_scalar_type(len(lengths))), lengths)
    return values[order[_stable_argsort(group[order])]]


def _stable_argsort(keys: np.ndarray) -> np.ndarray:
    """Sort unsigned integers below 2^32 by two radix passes of 16 bits, which NumPy runs in linear time."""
    if keys.itemsize <= 2:
        return np.argsort(keys, kind='stable')
    order = np.argsort(keys.astype(np.uint16), kind='stable')  # the low bytes
    return order[np.argsort((keys >> 16).astype(np.uint16)[order], kind='stable')]
