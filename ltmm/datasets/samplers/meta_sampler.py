"""Sampling by class rates that are learned while training."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.errors import InputError

from .base import LongTailSampler

__all__ = ['MetaSampler', 'gumbel_draw']


def gumbel_draw(rate: np.ndarray, label: np.ndarray, exponential: np.ndarray) -> tuple[int, float, np.ndarray]:
    r"""Draw one of N samples in proportion to the rate of its class, by the Gumbel-max trick.

    Args:
        rate: Rate of each class, (C,).
        label: Class of each sample, (N,).
        exponential: Noise E from the standard exponential distribution, (N,); :math:`g = -\log E` is Gumbel noise.

    Returns:
        The sample :math:`\arg\max_i \log r_{y_i} + g_i`, its noise :math:`g`, and the noise of each class,
        :math:`\log \sum_{i: y_i = c} e^{g_i}`, (C,), minus infinity for a class without samples.
    """
    with np.errstate(divide='ignore'):
        exp_noise = 1 / exponential
        sample = int(np.argmax(rate[label] * exp_noise))
        return sample, np.log(exp_noise[sample]), np.log(np.bincount(label, exp_noise, minlength=len(rate)))


@DATA_SAMPLERS.register_module()
class MetaSampler(LongTailSampler):
    """Draws samples, with replacement, by class rates that :class:`ltmm.engine.MetaSamplerHook` learns.

    A sample is drawn when the data loader asks for it, by the rates of that moment. With ``num_workers=0`` these are of
    the iteration before; workers load ahead, by rates up to ``num_workers * prefetch_factor`` iterations old. Each draw
    has a random generator of its own, so that any number of ranks draws the same samples. It takes N random numbers: on
    one CPU core, 512 draws take 0.08 s for N = 10,847 and 0.8 s for N = 115,846.

    References:
        [0] Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740.
        [1] github.com/jiawei-ren/BalancedMetaSoftmax-Classification @34a61e4, MetaSampler. It keeps the noise of every
            draw and sample, (B, N); of this, the gradient needs the sums per class only, (B, C).

    Args:
        *args: Of :class:`LongTailSampler`. Every sample has one label.
        **kwargs: Of :class:`LongTailSampler`.

    Attributes:
        draws: Draws of this rank that the hook has not yet taken, see :func:`gumbel_draw`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (np.diff(self.table.offsets) != 1).any():
            raise InputError('MetaSampler: expected one label per sample, but the dataset is multi-label.')
        self.draws: deque[tuple[int, float, np.ndarray]] = deque()
        self._rate: np.ndarray | None = None

    @property
    def rate(self) -> np.ndarray:
        """Rate of each class, (C,), which the hook sets and changes."""
        if self._rate is None:
            raise InputError("MetaSampler needs custom_hooks=[..., dict(type='ltmm.MetaSamplerHook')].")
        return self._rate

    @rate.setter
    def rate(self, rate: np.ndarray) -> None:
        self._rate = rate

    def take_draws(self, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Remove the ``num`` oldest draws of this rank.

        Returns:
            Labels, (num,); noise of the samples, (num,), and of the classes, (num, C), see :func:`gumbel_draw`.
        """
        samples, noise, class_noise = zip(*(self.draws.popleft() for _ in range(num)))
        return self.table.labels[list(samples)], np.array(noise), np.stack(class_noise)

    def noise(self, slot: int) -> np.ndarray:
        """Return the exponential noise of a draw of the current epoch, (N,)."""
        return np.random.default_rng((self.seed, self.epoch, slot)).standard_exponential(len(self.table))

    def sample_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`LongTailSampler`; by the present rates, whatever the epoch."""
        share = self.rate[self.table.labels]
        return share / share.sum()

    def __iter__(self) -> Iterator[int]:
        self.draws.clear()
        for slot in range(self.rank, self.total_size, self.world_size):
            draw = gumbel_draw(self.rate, self.table.labels, self.noise(slot))
            self.draws.append(draw)
            yield draw[0]
