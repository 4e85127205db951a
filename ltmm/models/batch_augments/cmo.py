"""CMO: patches of rare classes pasted into the images of a batch."""

import numpy as np
from mmpretrain.models.utils import CutMix
from torch import Tensor

from .base import BATCH_AUGMENTS, mix_rows
from .partners import PartnerBatchAugment

__all__ = ['CMO']


@BATCH_AUGMENTS.register_module()
class CMO(PartnerBatchAugment):
    r"""Pastes patches of images of mostly rare classes into the images of a batch: rare objects in frequent contexts.

    One box per batch, of a share :math:`1 - \lambda` of the area before it is clipped at the borders, is cut from
    images of a second, re-sampled stream of training images. Labels are mixed by the share of the area that remains.
    [1] mixes half of the batches (``probs=0.5`` beside ``augments``).

    The stream is that of :class:`~ltmm.models.batch_augments.PartnerBatchAugment`.

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
        super().__init__(sampler=sampler, alpha=alpha, start=start, end=end)
        self.cutmix = CutMix(float(alpha))

    def draw(self, shape: tuple[int, int]) -> tuple[tuple[int, int, int, int], float]:
        """Draw a box (top, bottom, left, right) and the share of the area outside, by NumPy's global generator.

        Args:
            shape: Height and width of the images.
        """
        return self.cutmix.cutmix_bbox_and_lam(shape, np.random.beta(self.alpha, self.alpha))

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        patches, patch_score = self.read_partners(inputs, score)
        (top, bottom, left, right), share = self.draw(inputs.shape[-2:])
        mixed = inputs.clone()
        mixed[..., top:bottom, left:right] = patches[..., top:bottom, left:right]
        return mixed, mix_rows(score, patch_score, share)
