"""Photometric distortion for classifiers."""

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from ltmm.registry import TRANSFORMS

__all__ = ['PhotoMetricDistortion']


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Changes brightness, contrast, saturation, hue and the order of the channels, each with probability 0.5.

    The same as mmdet's transform, without the need for mmdet. The contrast is changed before or after the colors, at
    random.

    References:
        [0] Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325.
        [1] github.com/wutong16/DistributionBalancedLoss @14460d0, for COCO-MLT and VOC-MLT.

    Args:
        brightness: Maximum shift of the pixels, of 255.
        contrast: Minimum and maximum factor of the pixels.
        saturation: Minimum and maximum factor of the saturation.
        hue: Maximum shift of the hue, in degrees.
    """

    def __init__(
        self,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18,
    ) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, a BGR image (H, W, 3), to float32 pixels, not clipped to [0, 255]."""
        image = results['img'].astype(np.float32)
        brighten, scale, saturate, turn, swap, scale_first = np.random.rand(6) < 0.5
        if brighten:
            image += np.random.uniform(-self.brightness, self.brightness)
        factor = np.random.uniform(*self.contrast) if scale else 1
        if scale_first:
            image *= factor
        if saturate or turn:
            image = mmcv.bgr2hsv(image)  # hue in [0, 360), saturation in [0, 1]
            if saturate:
                image[..., 1] = (image[..., 1] * np.random.uniform(*self.saturation)).clip(0, 1)
            if turn:
                image[..., 0] = (image[..., 0] + np.random.uniform(-self.hue, self.hue)) % 360
            image = mmcv.hsv2bgr(image)
        if not scale_first:
            image *= factor
        if swap:
            image = image[..., np.random.permutation(3)]
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, '
            f'saturation={self.saturation}, hue={self.hue})'
        )
