"""AutoAugment with the policy found on CIFAR-10."""

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from ltmm.registry import TRANSFORMS

__all__ = ['CIFARAutoAugment']


@TRANSFORMS.register_module()
class CIFARAutoAugment(BaseTransform):
    """One of the 25 pairs of operations that AutoAugment found for CIFAR-10, chosen at random.

    mmpretrain's ``AutoAugment`` has the policy for ImageNet only; this is torchvision's.

    Cubuk et al., AutoAugment: Learning Augmentation Strategies from Data, CVPR 2019, arXiv 1805.09501.

    Args:
        fill: value of the pixels that come in from outside of the image.
    """

    def __init__(self, fill: int = 128) -> None:
        self.augment = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=[fill] * 3)

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, an RGB image (H, W, 3) of uint8."""
        results['img'] = np.asarray(self.augment(Image.fromarray(results['img'])))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.augment!r})'
