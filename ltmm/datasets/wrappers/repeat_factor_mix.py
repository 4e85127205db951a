"""Mosaic, MixUp and the like with partner images drawn by repeat factors."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import MultiImageMixDataset
from mmengine.logging import print_log

from ltmm.datasets.samplers import RepeatFactorSampler
from ltmm.registry import DATASETS

__all__ = ['RepeatFactorMixDataset']

NUM_POSITIONS = 2**31 - 1  # transforms draw one of these, so that shares of images are exact to 5e-10


@DATASETS.register_module()
class RepeatFactorMixDataset(MultiImageMixDataset):
    """mmdet's MultiImageMixDataset that draws images of rare classes more often as partners in Mosaic and MixUp.

    A sampler chooses the first image of each sample only; mmdet draws the others uniformly: 3 of 4 in Mosaic. Here an
    image is a partner in proportion to its repeat factor, see :class:`ltmm.datasets.samplers.RepeatFactorSampler`,
    which draws the first images and keeps the length of the epochs::

        sampler=dict(type='ltmm.RepeatFactorSampler', threshold=1e-3),
        dataset=dict(type='ltmm.RepeatFactorMixDataset', threshold=1e-3, dataset=..., pipeline=[...])

    Sampler and dataset may have different thresholds. Class counts are those of the inner dataset. ``CachedMosaic`` and
    ``CachedMixUp`` take their partners from what the sampler has drawn, and need no wrapper.

    Args:
        *args: See mmdet's MultiImageMixDataset.
        threshold: See :class:`ltmm.datasets.samplers.RepeatFactorSampler`.
        power: Same.
        group_bounds: Same.
        **kwargs: See mmdet's MultiImageMixDataset.
    """

    def __init__(
        self,
        *args: Any,
        threshold: float | Sequence[float],
        power: float | Sequence[float] = 0.5,
        group_bounds: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self._options = dict(threshold=threshold, power=power, group_bounds=group_bounds)
        super().__init__(*args, **kwargs)

    def full_init(self) -> None:
        """Load the inner dataset and compute the repeat factors."""
        if self._fully_initialized:
            return
        super().full_init()
        self.partner_probability = PartnerSampler(self.dataset, seed=0, **self._options).sample_probability()
        ends = np.cumsum(self.partner_probability)
        self.pipeline = [
            MixWithPartners(transform, ends) if hasattr(transform, 'get_indexes') else transform
            for transform in self.pipeline
        ]

    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        return super().__getitem__(idx)


class PartnerSampler(RepeatFactorSampler):
    """Sampler that computes the probabilities of the partners; its warnings name the dataset."""

    def warn(self, message: str) -> None:
        print_log(f'RepeatFactorMixDataset, partners: {message}', logger='current', level=logging.WARNING)


class Repeated:
    """A dataset of ``NUM_POSITIONS`` indices, as if each image were repeated in proportion to its probability.

    Args:
        dataset: The dataset.
        ends: Cumulative probabilities of the images, (N,).
    """

    def __init__(self, dataset: Any, ends: np.ndarray) -> None:
        self.dataset, self.ends = dataset, ends

    def __len__(self) -> int:
        return NUM_POSITIONS

    def __getitem__(self, position: int) -> Any:
        return self.dataset[self.image(position)]

    def image(self, position: int) -> int:
        """Return the index of the image at a position, up to ``len(self)``, which some transforms draw too."""
        share = (position + 0.5) / NUM_POSITIONS * self.ends[-1]
        return min(int(np.searchsorted(self.ends, share, side='right')), len(self.ends) - 1)


class MixWithPartners:
    """A transform of several images, such as Mosaic, whose further images are drawn by probability.

    Args:
        transform: The transform; ``get_indexes(dataset)`` draws its partners.
        ends: Cumulative probabilities of the images, (N,).
    """

    def __init__(self, transform: Any, ends: np.ndarray) -> None:
        self.transform, self.ends = transform, ends

    def __call__(self, results: dict) -> dict | None:
        return self.transform(results)

    def get_indexes(self, dataset: Any) -> list[int]:
        """Draw the partners of a sample and return their indices in ``dataset``."""
        repeated = Repeated(dataset, self.ends)
        positions = self.transform.get_indexes(repeated)
        return [repeated.image(i) for i in (positions if isinstance(positions, Sequence) else [positions])]
