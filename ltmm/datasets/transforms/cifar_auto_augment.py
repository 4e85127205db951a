"""AutoAugment with its policy for CIFAR-10."""

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from ltmm.registry import TRANSFORMS

__all__ = ['CIFARAutoAugment']


@TRANSFORMS.register_module()
class CIFARAutoAugment(BaseTransform):
    """AutoAugment for CIFAR-10: applies one of 25 pairs of operations at random.

    Uses torchvision's implementation; mmpretrain's ``AutoAugment`` has only the policy for ImageNet.

    References:
        [0] Cubuk et al., AutoAugment: Learning Augmentation Strategies from Data, CVPR 2019, arXiv 1805.09501.

    Args:
        fill: Value of padded pixels.
    """

    def __init__(self, fill: int = 128) -> None:
        self.augment = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=[fill] * 3)

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, an RGB image (H, W, 3) of uint8."""
        results['img'] = np.asarray(self.augment(Image.fromarray(results['img'])))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.augment!r})'
