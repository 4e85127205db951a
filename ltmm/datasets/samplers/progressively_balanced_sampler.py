"""From instance-balanced to class-balanced sampling over the epochs."""

from collections.abc import Sized

import numpy as np

from ltmm.registry import DATA_SAMPLERS

from .base import ClassSampler, check_count

__all__ = ['ProgressivelyBalancedSampler', 'progressive_probability']


def progressive_probability(counts: np.ndarray, balance: float) -> np.ndarray:
    """Instance-balanced and class-balanced class probabilities mixed, (C,); 0 where the count is 0.

    Args:
        counts: samples per class, (C,).
        balance: share of the class-balanced ones, in [0, 1].
    """
    occurs = counts > 0
    return (1 - balance) * counts / counts.sum() + balance * occurs / occurs.sum()


@DATA_SAMPLERS.register_module()
class ProgressivelyBalancedSampler(ClassSampler):
    r"""Starts as plain shuffling, which favours the head, and ends with every class equally likely.

    .. math:: p_c^{(e)} = (1 - \lambda_e) \frac{n_c}{N} + \lambda_e \frac{1}{C}, \quad \lambda_e = \frac{e}{E - 1}

    for the epochs e = 0 ... E - 1, as [1] does (the paper divides by E and never gets to the end). C counts the classes
    that occur. Within a class the samples come in shuffled cycles, as in [1].

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, ClassPrioritySampler. Equal to [1] on its own
        numbers (tests/conformance, `samplers_decoupling`).

    Args:
        dataset: see :class:`ClassSampler`.
        total_epochs: E, at least 2; the ``max_epochs`` of the training, in a config
            ``{{_base_.train_cfg.max_epochs}}``.
        length: draws per epoch, over all ranks; as many as the dataset has samples when left out.
        seed: see :class:`ClassSampler`.
        round_up: see :class:`ClassSampler`.

    Raises:
        ValueError: ``total_epochs`` below 2, or, in :meth:`set_epoch`, an epoch beyond it.
    """

    def __init__(
        self,
        dataset: Sized,
        total_epochs: int,
        length: int | None = None,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        check_count('total_epochs', total_epochs)
        if total_epochs == 1:
            raise ValueError('Expected `total_epochs` to be at least 2, from the first balance to the last, but got 1.')
        self.total_epochs = total_epochs
        super().__init__(dataset, length, seed, round_up)
        self.warn_if_plain('all classes have equally many samples.', epoch=total_epochs - 1)

    def set_epoch(self, epoch: int) -> None:
        """Move on to ``epoch``, counted from 0."""
        self._check_epoch(epoch)
        super().set_epoch(epoch)

    def class_probability(self, epoch: int | None = None) -> np.ndarray:
        """See :class:`ClassSampler`."""
        epoch = self.epoch if epoch is None else epoch
        self._check_epoch(epoch)
        return progressive_probability(self.members.counts, epoch / (self.total_epochs - 1))

    def _check_epoch(self, epoch: int) -> None:
        if not 0 <= epoch < self.total_epochs:
            raise ValueError(
                f'ProgressivelyBalancedSampler: expected an epoch in [0, total_epochs={self.total_epochs}), but got '
                f"epoch {epoch}. Set `total_epochs` to the training's `max_epochs`."
            )
