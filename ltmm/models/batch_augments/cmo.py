"""CMO: patches of rare classes pasted into the images of a batch."""

import numpy as np
import torch
from mmpretrain.models.utils import ClsDataPreprocessor, CutMix
from torch import Tensor
from torch.utils.data import DataLoader

from ltmm.utils.errors import InputError, InputTypeError, MissingInputError
from ltmm.utils.loaders import endless

from .base import BATCH_AUGMENTS, BatchAugment, mix_rows

__all__ = ['CMO', 'PartnerStream']


class PartnerStream:
    """A second pass over the training data, read only as far as it is used.

    Args:
        loader: Its sampler tells what is drawn.
        preprocessor: Of the model; makes images and one-hot labels of a batch.
    """

    def __init__(self, loader: DataLoader, preprocessor: ClsDataPreprocessor) -> None:
        self.loader, self.preprocessor, self.epoch = loader, preprocessor, None

    def read(self, size: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the next images, (size, 3, H, W), and labels, (size, C); each epoch starts anew.

        Args:
            size: Of the batch; a smaller one of the stream is repeated.
            epoch: Of the training, from 0.
        """
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, endless(self.loader, epoch)
        data = self.preprocessor(next(self.batches), False)
        score = torch.stack([sample.gt_score for sample in data['data_samples']])
        rows = torch.arange(size, device=score.device) % len(score)
        return data['inputs'][rows], score[rows]


@BATCH_AUGMENTS.register_module()
class CMO(BatchAugment):
    r"""Pastes patches of images of mostly rare classes into the images of a batch: rare objects in frequent contexts.

    One box per batch, of a share :math:`1 - \lambda` of the area before it is clipped at the borders, is cut from
    images of a second, re-sampled stream of training images. Labels are mixed by the share of the area that remains.
    [1] mixes half of the batches (``probs=0.5`` beside ``augments``).

    ``ltmm.BatchAugmentHook`` opens the stream with the dataset and pipeline of the training and as many workers, and
    loads only what is pasted. In every epoch it starts anew, in an order that depends on seed and epoch.

    [0] Park et al., The Majority Can Help the Minority: Context-rich Minority Oversampling for Long-tailed
        Classification, CVPR 2022, arXiv 2112.00412.
    [1] github.com/naver-ai/cmo @10d2d09. The box is that of mmpretrain's ``CutMix``, equal to [1] (tests/conformance,
        ``cmo_rand_bbox``).

    Args:
        sampler: Sampler of the second stream. The default draws every image with a weight of 1 / n of its class, so
            all classes equally often.
        alpha: lambda comes from Beta(alpha, alpha).
        start: Share of the epochs before the first with mixing; epoch 4 of 200 in [1], counted from 0.
        end: Share of the epochs up to the last with mixing; [1] stops before epoch 197.
    """

    def __init__(
        self,
        *,
        sampler: dict = dict(type='ltmm.PowerSampler', power=0),
        alpha: float = 1.0,
        start: float = 0.02,
        end: float = 0.985,
    ) -> None:
        super().__init__(alpha=alpha, start=start, end=end)
        if not isinstance(sampler, dict) or 'type' not in sampler:
            raise InputTypeError(f'CMO: expected `sampler` to be dict(type=...), but got {sampler!r}.')
        self.sampler = sampler
        self.cutmix = CutMix(float(alpha))
        self.partners: PartnerStream | None = None  # set by BatchAugmentHook

    def draw(self, shape: tuple[int, int]) -> tuple[tuple[int, int, int, int], float]:
        """Draw a box (top, bottom, left, right) and the share of the area outside, by NumPy's global generator.

        Args:
            shape: Height and width of the images.
        """
        return self.cutmix.cutmix_bbox_and_lam(shape, np.random.beta(self.alpha, self.alpha))

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        if self.partners is None:
            raise MissingInputError("CMO needs dict(type='ltmm.BatchAugmentHook') in custom_hooks.")
        patches, patch_score = self.partners.read(len(inputs), self.epoch)
        if patches.shape != inputs.shape:
            raise InputError(
                f'CMO needs images of one size, but got {tuple(inputs.shape[1:])} and {tuple(patches.shape[1:])}.'
            )
        (top, bottom, left, right), share = self.draw(inputs.shape[-2:])
        mixed = inputs.clone()
        mixed[..., top:bottom, left:right] = patches[..., top:bottom, left:right]
        return mixed, mix_rows(score, patch_score, share)

    def extra_repr(self) -> str:
        return f'sampler={self.sampler}, {super().extra_repr()}'
