"""Cutout whose square may reach over the border."""

import numpy as np
from mmcv.transforms import BaseTransform

from ltmm.registry import TRANSFORMS
from ltmm.utils.checks import check

__all__ = ['Cutout']


@TRANSFORMS.register_module()
class Cutout(BaseTransform):
    """Fills a square around a random pixel with a constant; what lies outside the image is lost.

    mmpretrain's ``Cutout`` moves the square into the image at the upper and left border: it covers 17 % more of a
    CIFAR image with ``size=16``.

    [0] DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv 1708.04552.

    Args:
        size: Side of the square, rounded down to an even number.
        fill: Value of the pixels in the square.
    """

    def __init__(self, size: int, fill: int = 0) -> None:
        check(size=(size, 'int >= 1'))
        self.size, self.fill = size, fill

    def transform(self, results: dict) -> dict:
        """Change a copy of ``results['img']``, an image (H, W, C)."""
        image = results['img'].copy()
        rows, columns = (
            slice(max(center - self.size // 2, 0), center + self.size // 2)
            for center in np.random.randint(image.shape[:2])
        )
        image[rows, columns] = self.fill
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, fill={self.fill})'
