"""Data loaders beside that of the training."""

import itertools
from collections.abc import Iterator, Sized
from typing import Any

from torch.utils.data import DataLoader, Sampler

__all__ = ['endless', 'loader_like']


def endless(loader: DataLoader, epoch: int) -> Iterator[Any]:
    """Repeat a loader within an epoch, in another order each time; a resumed epoch starts like the original."""
    for repeat in itertools.count():
        loader.sampler.set_epoch(epoch + 2**20 * repeat)
        yield from loader


def loader_like(loader: DataLoader, dataset: Sized, sampler: Sampler) -> DataLoader:
    """Load a dataset as another loader does, in the order of a sampler; workers start anew in every pass."""
    return DataLoader(
        dataset,
        loader.batch_size,
        sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
    )
