"""Progressively balanced sampling: from instance-balanced to class-balanced over the epochs."""

from collections.abc import Sized
from typing import Any

import numpy as np

from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import ClassSampler

__all__ = ['ProgressivelyBalancedSampler', 'progressive_probability']


def progressive_probability(counts: np.ndarray, balance: float) -> np.ndarray:
    """Interpolate instance-balanced (``balance`` 0) and class-balanced (1) class probabilities, (C,)."""
    occurs = counts > 0
    return (1 - balance) * counts / counts.sum() + balance * occurs / occurs.sum()


@DATA_SAMPLERS.register_module()
class ProgressivelyBalancedSampler(ClassSampler):
    r"""Starts with instance-balanced sampling and ends with class-balanced sampling.

    .. math:: p_c^{(e)} = (1 - \lambda_e) \frac{n_c}{N} + \lambda_e \frac{1}{C}, \quad \lambda_e = \frac{e}{E - 1}

    for the epochs e = 0 ... E - 1 as in [1]; [0] divides by E instead. C is the number of classes with a sample.

    References:
        [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
            arXiv 1910.09217.
        [1] github.com/facebookresearch/classifier-balancing @f162ade, ClassPrioritySampler. Reproduced by
            tests/conformance, ``samplers_decoupling``.

    Args:
        dataset, length, seed, round_up, labels: See :class:`ClassSampler`.
        total_epochs: E, at least 2: ``max_epochs`` of the training, in a config ``{{_base_.train_cfg.max_epochs}}``.
    """

    def __init__(
        self,
        dataset: Sized,
        total_epochs: int,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
        labels: Any = None,
    ) -> None:
        check(total_epochs=(total_epochs, 'int >= 2'))
        self.total_epochs = total_epochs
        super().__init__(dataset, length, seed, round_up, labels)
        self.warn_if_uniform('all classes have the same number of samples.', epoch=total_epochs - 1)

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`."""
        epoch = self.epoch if epoch is None else epoch
        if not 0 <= epoch < self.total_epochs:
            raise InputError(
                f'ProgressivelyBalancedSampler: expected an epoch in [0, {self.total_epochs}), but got {epoch}. Set '
                "`total_epochs` to the training's `max_epochs`."
            )
        return progressive_probability(self.members.counts, epoch / (self.total_epochs - 1))
