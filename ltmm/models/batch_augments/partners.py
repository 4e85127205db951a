"""Batch augmentations that mix the images of a batch with those of a second stream."""

from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor
from torch.utils.data import DataLoader

from ltmm.utils.errors import InputError, InputTypeError, MissingInputError
from ltmm.utils.loaders import endless

from .base import BatchAugment

__all__ = ['PartnerBatchAugment', 'PartnerStream']


class PartnerStream:
    """A second pass over the training data, read only as far as it is used.

    Args:
        loader: Its sampler tells what is drawn.
        preprocessor: Of the model; makes images and one-hot labels of a batch.
    """

    def __init__(self, loader: DataLoader, preprocessor: ClsDataPreprocessor) -> None:
        self.loader, self.preprocessor, self.epoch = loader, preprocessor, None

    def read(self, size: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return V views of the next images, (V size, 3, H, W), and their labels, (size, C); each epoch starts anew.

        Args:
            size: Of the batch; a smaller one of the stream is repeated.
            epoch: Of the training, from 0.
        """
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, endless(self.loader, epoch)
        data = self.preprocessor(next(self.batches), False)
        score = torch.stack([sample.gt_score for sample in data['data_samples']])
        rows = torch.arange(size, device=score.device) % len(score)
        return data['inputs'].unflatten(0, (-1, len(score)))[:, rows].flatten(0, 1), score[rows]


class PartnerBatchAugment(BatchAugment):
    """Base class of batch augmentations that mix images with partners from a second, re-sampled stream.

    ``ltmm.BatchAugmentHook`` opens the stream with the dataset and pipeline of the training and as many workers, and
    loads only what is used. In every epoch it starts anew, in an order that depends on seed and epoch.

    Args:
        sampler: Sampler of the second stream.
        **kwargs: See :class:`BatchAugment`.
    """

    def __init__(self, *, sampler: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(sampler, dict) or 'type' not in sampler:
            raise InputTypeError(
                f'{type(self).__name__}: expected `sampler` to be dict(type=...), but got {sampler!r}.'
            )
        self.sampler = sampler
        self.partners: PartnerStream | None = None  # set by BatchAugmentHook

    def read_partners(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels of the partners, of shapes and dtype of the arguments."""
        name = type(self).__name__
        if self.partners is None:
            raise MissingInputError(f"{name} needs dict(type='ltmm.BatchAugmentHook') in custom_hooks.")
        images, partner_score = self.partners.read(len(score), self.epoch)
        if images.shape != inputs.shape:
            raise InputError(
                f'{name} needs images of one size, but got {tuple(inputs.shape[1:])} and {tuple(images.shape[1:])}.'
            )
        return images, partner_score.to(score.dtype)

    def extra_repr(self) -> str:
        return f'sampler={self.sampler}, {super().extra_repr()}'
