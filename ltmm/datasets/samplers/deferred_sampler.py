"""Deferred re-sampling (DRS): learn features from the original data first, then re-sample."""

from collections.abc import Iterator, Sized
from typing import Any

from mmengine.dist import sync_random_seed
from torch.utils.data import Sampler

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import BalancingSampler, LongTailSampler, sampler_balances_classes

__all__ = ['DeferredSampler']


@DATA_SAMPLERS.register_module()
class DeferredSampler(BalancingSampler, Sampler):
    """Switches from one sampler to another at a given epoch.

    Both samplers count the epochs from the start of the training.

    References:
        [0] Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019,
            arXiv 1906.07413.
        [1] github.com/zhangyongshun/BagofTricks-LT @ce7859a, which re-samples from epoch 160 of 200.

    Args:
        dataset: Dataset of both samplers.
        before: Sampler used before ``start_epoch``, or its config.
        after: Sampler used from ``start_epoch`` on, or its config. Both draw the same number of samples per epoch.
        start_epoch: First epoch of ``after``, counted from 0.
        seed: Seed of samplers given as configs, the same on all ranks. Default: the seed of the runner.
        labels: See :class:`LongTailSampler`; for samplers given as configs.
    """

    @classmethod
    def balances_classes(cls, after: Sampler | dict, **settings: Any) -> bool:
        return isinstance(after, BalancingSampler) if isinstance(after, Sampler) else sampler_balances_classes(after)

    def __init__(
        self,
        dataset: Sized,
        before: Sampler | dict,
        after: Sampler | dict,
        start_epoch: int,
        seed: int | None = None,
        labels: Any = None,
    ) -> None:
        check(start_epoch=(start_epoch, 'int >= 0'))
        shared = dict(dataset=dataset, seed=sync_random_seed() if seed is None else seed)
        self.before, self.after = (_build(sampler, shared, labels) for sampler in (before, after))
        if len(self.before) != len(self.after):
            raise InputError(
                f'DeferredSampler: {type(self.before).__name__} draws {len(self.before)} samples per epoch, but '
                f"{type(self.after).__name__} {len(self.after)}. Set `length` of ltmm's samplers."
            )
        self.dataset, self.start_epoch = dataset, start_epoch
        self.set_epoch(0)

    @property
    def seed(self) -> int:
        """Seed of both samplers."""
        return self.after.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.before.seed = self.after.seed = seed

    @property
    def current(self) -> Sampler:
        """Sampler of the current epoch."""
        return self.before if self.epoch < self.start_epoch else self.after

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch, counted from 0."""
        self.epoch = epoch
        self.current.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self.current)

    def __len__(self) -> int:
        return len(self.after)


def _build(sampler: Sampler | dict, shared: dict, labels: Any) -> Sampler:
    """Build a sampler; those of other packages take no labels."""
    if isinstance(sampler, Sampler):
        return sampler
    if labels is not None:
        kind = sampler.get('type')
        kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and issubclass(kind, LongTailSampler):
            shared = dict(shared, labels=labels)
    return DATA_SAMPLERS.build(sampler, default_args=shared)
