"""What all long-tailed samplers have in common: ranks, epochs, seeds, padding."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sized
from functools import cached_property

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log

from ltmm.datasets.labels.label_table import LabelTable

from .class_members import ClassMembers

__all__ = ['ClassSampler', 'LongTailSampler', 'check_count']


class LongTailSampler(DefaultSampler, ABC):
    """MMEngine's DefaultSampler with another order of the samples.

    The order of an epoch is a function of ``seed`` and ``epoch`` alone, the same on all ranks. Of R ranks, rank r takes
    the entries r, r + R, r + 2R, ... of it, padded from its start as DefaultSampler does: the ranks together draw the
    same for any R, and a resumed run goes on as if it had never stopped.

    Args:
        dataset: anything :class:`ltmm.datasets.LabelTable` can read.
        length: draws per epoch, over all ranks; :meth:`default_length` when left out.
        seed: the same on all ranks; the runner passes its own.
        round_up: pad the order so that all ranks draw equally many.

    Raises:
        ValueError: a dataset without samples or labels, or ``length`` below 1.
    """

    def __init__(
        self, dataset: Sized, length: int | None = None, seed: int | None = None, round_up: bool = True
    ) -> None:
        name = type(self).__name__
        if length is not None:
            check_count('length', length)
        if not len(dataset):
            raise ValueError(f'{name}: expected a dataset with samples, but got an empty {type(dataset).__name__}.')
        self.table = LabelTable.from_dataset(dataset)
        if len(self.table) != len(dataset):
            raise ValueError(
                f'{name}: expected labels of all {len(dataset)} samples of {type(dataset).__name__}, '
                f'but got those of {len(self.table)}.'
            )
        if not len(self.table.labels):
            raise ValueError(f'{name}: expected a dataset with labels, but none of {len(dataset)} samples has one.')
        self.length = self.default_length() if length is None else length
        super().__init__(range(self.length), shuffle=True, seed=seed, round_up=round_up)
        self.dataset = dataset

    @abstractmethod
    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the samples to draw in the present epoch, (length,)."""

    @abstractmethod
    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """Expected share of each sample among the draws of an epoch, (N,).

        Args:
            epoch: counted from 0; the present one when left out.
        """

    def default_length(self) -> int:
        """Draws per epoch where the config says nothing: as many as the dataset has samples."""
        return len(self.table)

    def __iter__(self) -> Iterator[int]:
        order = self.order(np.random.default_rng((self.seed, self.epoch)))
        return iter(np.resize(order, self.total_size)[self.rank :: self.world_size].tolist())

    def warn(self, message: str) -> None:
        """Log a warning in the name of this sampler."""
        print_log(f'{type(self).__name__}: {message}', logger='current', level=logging.WARNING)

    def warn_if_plain(self, reason: str, epoch: int | None = None) -> None:
        """Say so when all samples are equally likely in an epoch, as they are without this sampler.

        Args:
            reason: why that is.
            epoch: see :meth:`sample_probability`.
        """
        probability = self.sample_probability(epoch)
        if np.allclose(probability * len(probability), 1):
            self.warn(f'changes nothing, all samples are as likely as under plain shuffling: {reason}')


class ClassSampler(LongTailSampler):
    """Draws a class first, then a sample that holds it.

    Within a class the samples come in shuffled cycles: none comes again before all others of the class have come. In
    multi-label data a sample counts as one of each of its classes, and is reached through any of them.

    Args:
        dataset: see :class:`LongTailSampler`.
        length: see :class:`LongTailSampler`.
        seed: see :class:`LongTailSampler`.
        round_up: see :class:`LongTailSampler`.
    """

    def __init__(
        self, dataset: Sized, length: int | None = None, seed: int | None = None, round_up: bool = True
    ) -> None:
        super().__init__(dataset, length, seed, round_up)
        unlabelled = int((np.diff(self.table.offsets) == 0).sum())
        if unlabelled:
            self.warn(f'{unlabelled} of {len(self.table)} samples have no label and will never be drawn.')

    @abstractmethod
    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """Probability of each class at every draw of an epoch, (C,); 0 for a class without samples.

        Args:
            epoch: counted from 0; the present one when left out.
        """

    @cached_property
    def members(self) -> ClassMembers:
        """The samples of each class."""
        return ClassMembers.of(self.table)

    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`LongTailSampler`."""
        return self.members.per_sample(self.class_probability(epoch), len(self.table))

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draws the classes independently of each other, then walks through the samples of each."""
        return self.members.draw(rng.multinomial(self.length, self.class_probability()), rng)


def check_count(name: str, value: int) -> None:
    """Refuse anything but a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f'Expected `{name}` to be a whole number of at least 1, but got {value!r}.')
