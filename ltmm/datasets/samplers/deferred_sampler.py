"""Deferred re-sampling (DRS): learn features from the data as they are, then sample for the tail."""

from collections.abc import Iterator, Sized

from mmengine.dist import sync_random_seed
from torch.utils.data import Sampler

from ltmm.registry import DATA_SAMPLERS

__all__ = ['DeferredSampler']


@DATA_SAMPLERS.register_module()
class DeferredSampler(Sampler):
    """Samples in one way at first, and in another, such as for the tail, from one epoch on.

    Only the epoch decides, and MMEngine's DistSamplerSeedHook brings it: a resumed run is where it was. Each sampler is
    told its epochs as they are, counted from the start of the training.

    [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
        arXiv 1906.07413.
    [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, which re-samples from epoch 160 of 200.

    Args:
        dataset: what both samplers draw from.
        before: config of the sampler up to ``start_epoch``.
        after: config of the sampler from then on.
        start_epoch: first epoch of ``after``, counted from 0.
        seed: of both, the same on all ranks; the runner passes its own.

    Raises:
        ValueError: ``start_epoch`` is negative, or the samplers draw different numbers of samples per epoch.
    """

    def __init__(self, dataset: Sized, before: dict, after: dict, start_epoch: int, seed: int | None = None) -> None:
        if isinstance(start_epoch, bool) or not isinstance(start_epoch, int) or start_epoch < 0:
            raise ValueError(f'Expected `start_epoch` to be a whole number of at least 0, but got {start_epoch!r}.')
        shared = dict(dataset=dataset, seed=sync_random_seed() if seed is None else seed)
        self.before = DATA_SAMPLERS.build(before, default_args=shared)
        self.after = DATA_SAMPLERS.build(after, default_args=shared)
        if len(self.before) != len(self.after):
            raise ValueError(
                f'DeferredSampler: expected both samplers to draw equally many samples per epoch, but '
                f'{type(self.before).__name__} draws {len(self.before)} and {type(self.after).__name__} '
                f"{len(self.after)}. Give ltmm's samplers the `length` you want."
            )
        self.dataset, self.start_epoch = dataset, start_epoch
        self.set_epoch(0)

    @property
    def seed(self) -> int:
        """The seed of both samplers."""
        return self.after.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.before.seed = self.after.seed = seed

    @property
    def present(self) -> Sampler:
        """The sampler of the present epoch."""
        return self.before if self.epoch < self.start_epoch else self.after

    def set_epoch(self, epoch: int) -> None:
        """Move on to ``epoch``, counted from 0."""
        self.epoch = epoch
        self.present.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self.present)

    def __len__(self) -> int:
        return len(self.after)
