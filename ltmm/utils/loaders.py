"""Data loaders beside that of the training."""

from collections.abc import Sized

from torch.utils.data import DataLoader, Sampler

__all__ = ['loader_like']


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
