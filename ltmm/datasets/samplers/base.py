"""Base classes of the long-tailed samplers."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sized
from functools import cached_property
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log

from ltmm.datasets.labels import LabelTable, read_labels
from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .class_members import ClassMembers

__all__ = ['BalancingSampler', 'ClassSampler', 'LongTailSampler', 'sampler_balances_classes']


class BalancingSampler:
    """Mixin of samplers that say whether they balance the classes, before they are built."""

    @classmethod
    def balances_classes(cls, **settings: Any) -> bool:
        """Whether a sampler of these settings draws rare classes more often than their share."""
        return True


def sampler_balances_classes(cfg: Mapping[str, Any]) -> bool:
    """Ask the class of a sampler's config."""
    settings = dict(cfg)
    sampler = DATA_SAMPLERS.get(settings.pop('type'))
    return sampler is not None and issubclass(sampler, BalancingSampler) and sampler.balances_classes(**settings)


class LongTailSampler(BalancingSampler, DefaultSampler, ABC):
    """Base class for samplers that draw some samples more often than others.

    The order of an epoch depends on ``seed`` and ``epoch`` only and is the same on all ranks; rank r of R takes the
    entries r, r + R, r + 2R, ... So any number of ranks draws the same samples, and a resumed run continues exactly.

    Args:
        dataset: Any dataset that :class:`ltmm.datasets.LabelTable` can read: of OpenMMLab, torchvision or Hugging Face.
        length: Draws per epoch, over all ranks. Default: :meth:`default_length`.
        seed: Random seed, the same on all ranks. Default: the seed of the runner.
        round_up: Repeat the first draws so that all ranks get the same number.
        labels: Labels of the samples, for other datasets: class indices (N,), or for multi-label data an array (N, C)
            of 1, 0 and -1 (unknown) or N lists of class indices.
    """

    def __init__(
        self,
        dataset: Sized,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        self.table = LabelTable.from_dataset(dataset) if labels is None else read_labels(labels)
        name = f'{type(self).__name__}: {type(dataset).__name__}'
        if len(self.table) != len(dataset):
            raise InputError(f'{name} has {len(dataset)} samples, but labels of {len(self.table)}.')
        if not len(self.table.labels):
            raise InputError(f'{name} has {len(dataset)} samples, but no labels.')
        self.length = self.default_length() if length is None else length
        check(length=(self.length, 'int >= 1'))
        super().__init__(range(self.length), shuffle=True, seed=seed, round_up=round_up)
        self.dataset = dataset

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the sample indices of the current epoch, (length,)."""
        raise NotImplementedError(f'{type(self).__name__} must define order(rng), or __iter__().')

    @abstractmethod
    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """Return the expected share of each sample among the draws of an epoch (default: the current one), (N,)."""

    def default_length(self) -> int:
        """Return the number of draws per epoch if ``length`` is not given: the size of the dataset."""
        return len(self.table)

    def __iter__(self) -> Iterator[int]:
        order = self.order(np.random.default_rng((self.seed, self.epoch)))
        return iter(np.resize(order, self.total_size)[self.rank :: self.world_size].tolist())

    def warn(self, message: str) -> None:
        """Log a warning that starts with the name of this sampler."""
        print_log(f'{type(self).__name__}: {message}', logger='current', level=logging.WARNING)

    def warn_if_uniform(self, reason: str, epoch: int | None = None) -> None:
        """Log a warning with the given reason if this sampler draws all samples equally often."""
        probability = self.sample_probability(epoch)
        if np.allclose(probability * len(probability), 1):
            self.warn(f'has no effect, all samples are drawn equally often: {reason}')


class ClassSampler(LongTailSampler):
    """Base class for samplers that draw a class first, then a sample of that class.

    The samples of a class come in shuffled cycles: no sample is repeated before all others of the class were drawn. A
    multi-label sample belongs to each of its classes.

    Args:
        dataset, length, seed, round_up, labels: See :class:`LongTailSampler`.
    """

    @abstractmethod
    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """Return the probability of each class in the draws of an epoch (default: the current one), (C,)."""

    @cached_property
    def members(self) -> ClassMembers:
        """Samples of each class; those without a label are never drawn."""
        unlabeled = int((np.diff(self.table.offsets) == 0).sum())
        if unlabeled:
            self.warn(f'{unlabeled} of {len(self.table)} samples have no label and are never drawn.')
        return ClassMembers.from_table(self.table)

    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`LongTailSampler`."""
        return self.members.sample_probability(self.class_probability(epoch), len(self.table))

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the number of samples per class from a multinomial distribution, then the samples of each class."""
        return self.members.draw(rng.multinomial(self.length, self.class_probability()), rng)
