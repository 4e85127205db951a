"""PSNR and SSIM of enlarged images, and the PSNR of their rare pixels, those with detail."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ltmm.evaluation.non_empty import NonEmptyTestSet
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['SuperResolutionMetric', 'luma', 'rare_pixels']

HALF_WINDOW = 5  # of SSIM: torchmetrics pads the image by it, MATLAB leaves these pixels out
LUMA = (65.481, 128.553, 24.966)  # of ITU-R BT.601, from RGB in [0, 1] to [16, 235]


def luma(image: Tensor) -> Tensor:
    """Compute the Y channel of RGB images with values in [0, 255], (..., 3, H, W) to (..., 1, H, W)."""
    weights = image.new_tensor(LUMA)[:, None, None] / 255
    return 16 + (image * weights).sum(-3, keepdim=True)


def rare_pixels(hr: Tensor, bicubic: Tensor, share: float = 0.1) -> Tensor:
    """Find the pixels with most detail: those that the bicubic enlargement misses most, as a mask (H, W).

    Args:
        hr: Large image, (C, H, W).
        bicubic: Enlargement, (C, H, W).
        share: Of the pixels of the image.
    """
    miss = (hr - bicubic).abs().mean(0)
    rare = torch.zeros_like(miss, dtype=torch.bool).flatten()
    rare[miss.flatten().topk(math.ceil(share * miss.numel())).indices] = True
    return rare.view_as(miss)


@METRICS.register_module()
class SuperResolutionMetric(NonEmptyTestSet, BaseMetric):
    """PSNR and SSIM on Y and RGB, and PSNR of rare and common pixels (RGB): an average hides the rare ones.

    Images are limited to [0, 1] and rounded to 8 bits; borders do not count. Means over images. SSIM has a Gaussian
    window of 11 pixels, as in MATLAB.

    Args:
        crop_border: Pixels left out on each side; by convention the scale.
        rare_share: Share of the pixels of an image that counts as rare, see :func:`rare_pixels`.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: Of the names in the log.
    """

    default_prefix = 'sr'

    def __init__(
        self, crop_border: int = 4, rare_share: float = 0.1, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        check_extra('super-resolution', 'torchmetrics')
        check(crop_border=(crop_border, 'int >= 0'), rare_share=(rare_share, 'in (0, 1)'))
        super().__init__(collect_device, prefix)
        self.crop_border, self.rare_share = crop_border, rare_share

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Compute the figures of each image: ``sr``, ``hr`` and ``bicubic``, (3, H, W) in [0, 1]."""
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        for sample in data_samples:
            sr, hr, bicubic = (self._inner(sample[name]) for name in ('sr', 'hr', 'bicubic'))
            rare = rare_pixels(hr, bicubic, self.rare_share)
            sr, hr = ((255 * image.clamp(0, 1)).round() for image in (sr, hr))
            pairs = dict(y=(luma(sr), luma(hr)), rgb=(sr, hr))
            figures = {
                f'psnr_{name}': peak_signal_noise_ratio(*pair, data_range=255.0)
                for name, pair in dict(
                    pairs, rare=(sr[:, rare], hr[:, rare]), common=(sr[:, ~rare], hr[:, ~rare])
                ).items()
            }
            for name, pair in pairs.items():  # in float32: torchmetrics convolves
                _, ssim = structural_similarity_index_measure(
                    *(image[None].float() for image in pair), data_range=255.0, return_full_image=True
                )
                figures[f'ssim_{name}'] = ssim[..., HALF_WINDOW:-HALF_WINDOW, HALF_WINDOW:-HALF_WINDOW].mean()
            self.results.append({name: float(value) for name, value in figures.items()})

    def _inner(self, image: Tensor) -> Tensor:
        border = self.crop_border
        if min(image.shape[-2:]) - 2 * border <= 2 * HALF_WINDOW:
            raise InputError(
                f'Expected images of at least {2 * (HALF_WINDOW + border) + 1} pixels for SSIM with '
                f'crop_border={border}, but got {tuple(image.shape[-2:])}.'
            )
        return image[:, border : image.size(1) - border, border : image.size(2) - border].double()

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Average over images."""
        return {name: float(np.mean([result[name] for result in results])) for name in results[0]}
