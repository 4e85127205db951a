"""The samples of each class, and vectorised draws from their shuffled cycles."""

from dataclasses import dataclass

import numpy as np
import torch

from ltmm.datasets.labels.label_table import LabelTable

__all__ = ['ClassMembers', 'permutation']


@dataclass(frozen=True, eq=False)
class ClassMembers:
    """Which samples hold each class, class after class.

    A sample with several classes is a member of each of them, once.

    Args:
        samples: members of class 0, then of class 1, and so on, (P,).
        counts: number of members per class, (C,).
    """

    samples: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, table: LabelTable) -> 'ClassMembers':
        """Those of a label table."""
        samples, classes = table.unique_pairs()  # (P,), (P,)
        order = np.argsort(classes, kind='stable')
        return cls(samples[order].astype(np.int32), np.bincount(classes, minlength=table.num_classes))

    def per_sample(self, class_probability: np.ndarray, num_samples: int) -> np.ndarray:
        """Probability of each sample when a class is drawn first, then one of its members uniformly, (N,).

        Args:
            class_probability: (C,); 0 for a class without members.
            num_samples: N.
        """
        shares = class_probability / np.maximum(self.counts, 1)
        return np.bincount(self.samples, np.repeat(shares, self.counts), minlength=num_samples)

    def draw(self, num_draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws from every class, all in one random order, (sum of num_draws,).

        A member comes once more only when all others of its class have come as often.

        Args:
            num_draws: draws per class, (C,); 0 for a class without members.
            rng: where the randomness comes from.
        """
        full, rest = np.divmod(num_draws, np.maximum(self.counts, 1))
        # in a random order of the class, the first `rest` members come once more than the others
        times = np.stack([full + 1, full], axis=1).ravel()  # (2C,)
        members = np.stack([rest, self.counts - rest], axis=1).ravel()
        draws = np.repeat(_shuffled_within(self.samples, self.counts, rng), np.repeat(times, members))
        return draws[permutation(len(draws), rng)]

    def cycles(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """The first draws from the shuffled cycle of every class, (C, num_draws).

        A cycle is a random order of all members of the class; another order follows when it is through.

        Args:
            num_draws: draws per class; every class needs a member.
            rng: where the randomness comes from.
        """
        num_cycles = -(-num_draws // self.counts)  # (C,)
        lengths = np.repeat(self.counts, num_cycles)  # of each cycle of each class
        shifts = np.repeat(np.cumsum(self.counts) - self.counts, num_cycles) - (np.cumsum(lengths) - lengths)
        member = np.arange(lengths.sum(), dtype=np.int32) + np.repeat(shifts.astype(np.int32), lengths)
        orders = _shuffled_within(self.samples[member], lengths, rng)  # all cycles of all classes, one after another
        lengths = self.counts * num_cycles  # of all cycles of each class, (C,)
        return orders[(np.cumsum(lengths) - lengths)[:, None] + np.arange(num_draws)]


def permutation(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of ``range(size)``, int32; PyTorch's is made in half the time of NumPy's."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return torch.randperm(size, generator=generator, dtype=torch.int32).numpy()


def _shuffled_within(values: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``values`` with each group, a run of the given length, in random order."""
    order = permutation(len(values), rng)
    group = np.repeat(np.arange(len(lengths), dtype=np.min_scalar_type(len(lengths))), lengths)
    return values[order[_stable_argsort(group[order])]]


def _stable_argsort(keys: np.ndarray) -> np.ndarray:
    """Stable order of unsigned numbers below 2^32, two bytes at a time: NumPy sorts these in linear time."""
    if keys.itemsize <= 2:
        return np.argsort(keys, kind='stable')
    order = np.argsort(keys.astype(np.uint16), kind='stable')  # the low bytes
    return order[np.argsort((keys >> 16).astype(np.uint16)[order], kind='stable')]
