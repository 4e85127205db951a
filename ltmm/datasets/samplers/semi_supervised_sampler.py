"""Sampler of two streams, labeled and unlabeled images, in a fixed ratio."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['SemiSupervisedSampler']


@DATA_SAMPLERS.register_module()
class SemiSupervisedSampler(DefaultSampler):
    """Draws labeled and unlabeled images in a fixed ratio: a of the first, b of the second, and so on.

    A batch whose size is a multiple of a + b has the ratio exactly. Each stream passes over its images in shuffled
    order, again and again, and goes on where the last epoch ended; the smaller stream is repeated more often. The order
    depends on ``seed`` and ``epoch`` only and is the same on all ranks, of which each takes every R-th group of a + b
    images. So any number of ranks draws the same images, and a resumed run continues exactly.

    Args:
        dataset: An ``ltmm.SemiSupervised``.
        ratio: ``(a, b)``.
        length: Images per epoch, of both streams, over all ranks. Default: one pass over the unlabeled images.
        seed: Random seed, the same on all ranks. Default: the seed of the runner.
        round_up: Repeat the first groups so that all ranks get the same number.
    """

    def __init__(
        self,
        dataset: Any,
        ratio: Sequence[int] = (1, 1),
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        check(ratio=(ratio, 'a list of int >= 1'), length=(length, 'int >= 1 or None'))
        if np.shape(ratio) != (2,):
            raise InputError(f'Expected `ratio` to be two numbers, labeled and unlabeled images, but got {ratio!r}.')
        if not hasattr(dataset, 'sizes'):
            raise InputTypeError(
                f'SemiSupervisedSampler needs an ltmm.SemiSupervised dataset, but got {type(dataset).__name__}.'
            )
        self.ratio, self.sizes = tuple(ratio), dataset.sizes
        group = sum(self.ratio)
        self.num_groups = -(-self.sizes[1] // self.ratio[1]) if length is None else max(length // group, 1)
        super().__init__(range(self.num_groups), shuffle=True, seed=seed, round_up=round_up)
        self.num_samples *= group
        self.total_size *= group
        self.dataset = dataset

    def order(self) -> np.ndarray:
        """Return the indices of the current epoch in groups, (num_groups, a + b)."""
        streams = [self._stream(stream) for stream in (0, 1)]
        return np.concatenate([streams[0], streams[1] + self.sizes[0]], axis=1)

    def _stream(self, stream: int) -> np.ndarray:
        """Return the draws of a stream in the current epoch, (num_groups, a) or (num_groups, b)."""
        size, num = self.sizes[stream], self.num_groups * self.ratio[stream]
        passes, rows = np.divmod(np.arange(self.epoch * num, (self.epoch + 1) * num), size)
        first = int(passes[0])
        orders = [
            np.random.default_rng((self.seed, stream, index)).permutation(size)
            for index in range(first, int(passes[-1]) + 1)
        ]
        return np.stack(orders)[passes - first, rows].reshape(-1, self.ratio[stream])

    def __iter__(self) -> Iterator[int]:
        groups = self.order()
        taken = np.resize(np.arange(len(groups)), self.total_size // sum(self.ratio))[self.rank :: self.world_size]
        return iter(groups[taken].ravel().tolist())
