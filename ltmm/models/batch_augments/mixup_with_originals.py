"""Mixup beside the images as they were, for losses of images that are not mixed."""

import numpy as np
import torch
from torch import Tensor

from .base import BATCH_AUGMENTS, BatchAugment, mix_rows

__all__ = ['MixupWithOriginals']


@BATCH_AUGMENTS.register_module()
class MixupWithOriginals(BatchAugment):
    r"""Makes two views of each image: one by mixup, as mmpretrain's ``Mixup`` does, then the image itself.

    The network sees both, 2 N images, in one batch, so batch norm normalizes them together. A head of ltmm takes
    logits of the mixed images only, by ``cls_views=1``; an objective such as ``ltmm.RCALLoss`` reads features of the
    others. Before ``start`` and after ``end`` the first view is the image itself, too.

    [0] Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412.

    Args:
        alpha: The share of all images of a batch comes from Beta(alpha, alpha).
        start: See :class:`BatchAugment`.
        end: See :class:`BatchAugment`.
    """

    def forward(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            inputs: Normalized images, (N, 3, H, W).
            score: One-hot labels, (N, C).

        Returns:
            Images (2 N, 3, H, W), view-major, and labels of the first view, (N, C).
        """
        mixed, score = super().forward(inputs, score)
        return torch.cat([mixed, inputs]), score

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        share, partner = np.random.beta(self.alpha, self.alpha), torch.randperm(len(inputs)).to(inputs.device)
        return mix_rows(inputs, inputs[partner], share), mix_rows(score, score[partner], share)
