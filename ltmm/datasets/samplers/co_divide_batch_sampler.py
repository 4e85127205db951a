"""Batches for two networks that take turns, of labeled and unlabeled samples."""

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info

from ltmm.models.state.co_divide_step import CoDivideStep
from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

__all__ = ['CoDivideBatchSampler']


@DATA_SAMPLERS.register_module()
class CoDivideBatchSampler:
    """Batches of an epoch of :class:`ltmm.models.CoDivideClassifier`: those of the first network, then the second's.

    In the warm-up each network passes over all samples, in batches of twice ``batch_size``. Then it passes once over
    the samples that the other one has selected, whatever their class; a batch holds these first, and as many of the
    other samples, of which there may be several passes. ``ltmm.CoDivideHook`` tells what is selected.

    Any number of ranks draws the same samples; a rank has ``batch_size`` labeled ones per batch, the last batch of a
    pass fewer. A last batch that the ranks cannot share evenly repeats its first samples.

    Args:
        sampler: MMEngine's ``DefaultSampler`` with ``shuffle=True``; it gives seed and epoch.
        batch_size: Labeled samples per batch of a rank.

    Attributes:
        selected: Whether each network selects each sample, (2, N); None in the warm-up.
        steps: What each batch of the epoch trains.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int) -> None:
        check(batch_size=(batch_size, 'int >= 1'))
        if not isinstance(sampler, DefaultSampler) or not sampler.shuffle:
            raise InputTypeError(
                "CoDivideBatchSampler needs sampler=dict(type='DefaultSampler', shuffle=True), but got "
                f'{type(sampler).__name__} with shuffle={getattr(sampler, "shuffle", None)}.'
            )
        self.sampler, self.batch_size = sampler, batch_size
        self.rank, self.world_size = get_dist_info()
        self.selected: np.ndarray | None = None
        self.steps: list[CoDivideStep] = []

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.sampler.dataset)

    def order(self, k: int, samples: np.ndarray, part: int, repeat: int = 0) -> np.ndarray:
        """Return samples in the order in which network k sees them.

        Args:
            k: Index of the network.
            samples: Indices, ascending.
            part: 0 in the warm-up, 1 for labeled and 2 for unlabeled samples.
            repeat: Number of the pass.
        """
        seed = self.sampler.seed, self.sampler.epoch, k, part, repeat
        return np.random.default_rng(seed).permutation(samples)

    def _chunks(self, order: np.ndarray, batch_size: int) -> Iterator[list[int]]:
        """Share of this rank in consecutive batches of all ranks."""
        size = batch_size * self.world_size
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            missing = -len(chunk) % self.world_size
            chunk = np.concatenate([chunk, np.resize(chunk, missing)])
            yield chunk[self.rank :: self.world_size].tolist()

    def _warmup(self, k: int) -> Iterator[tuple[CoDivideStep, list[int]]]:
        order = self.order(k, np.arange(self.num_samples), 0)
        for chunk in self._chunks(order, 2 * self.batch_size):
            yield CoDivideStep(k), chunk

    def _unlabeled(self, k: int, samples: np.ndarray) -> Iterator[list[int]]:
        repeat = 0
        while True:
            yield from self._chunks(self.order(k, samples, 2, repeat), self.batch_size)
            if not len(samples):
                yield []
            repeat += 1

    def _divided(self, k: int, selected: np.ndarray) -> Iterator[tuple[CoDivideStep, list[int]]]:
        order = self.order(k, np.flatnonzero(selected), 1)
        unlabeled = self._unlabeled(k, np.flatnonzero(~selected))
        num_steps = len(order) // (self.batch_size * self.world_size) + 1  # as published, not the number of batches
        for i, chunk in enumerate(self._chunks(order, self.batch_size)):
            yield CoDivideStep(k, len(chunk), i / num_steps), chunk + next(unlabeled)

    def __iter__(self) -> Iterator[list[int]]:
        self.steps, batches = [], []
        for k in range(2):
            parts = self._warmup(k) if self.selected is None else self._divided(k, self.selected[1 - k])
            for step, batch in parts:
                self.steps.append(step)
                batches.append(batch)
        return iter(batches)

    def __len__(self) -> int:
        if self.selected is None:
            sizes, batch_size = [self.num_samples] * 2, 2 * self.batch_size
        else:
            sizes, batch_size = self.selected.sum(1).tolist(), self.batch_size
        return sum(-(-size // (batch_size * self.world_size)) for size in sizes)
