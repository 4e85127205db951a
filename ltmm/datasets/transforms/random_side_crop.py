"""A random crop whose two sides are drawn on their own."""

import numpy as np
from mmcv.transforms import BaseTransform

from ltmm.registry import TRANSFORMS

__all__ = ['RandomSideCrop']


@TRANSFORMS.register_module()
class RandomSideCrop(BaseTransform):
    """Crops to a random share of the height and a random share of the width, somewhere in the image.

    As github.com/wutong16/DistributionBalancedLoss @14460d0 crops the images of COCO-MLT and VOC-MLT. A crop that is
    too long or too wide is drawn again; after ``num_tries`` such draws the image stays whole.

    Args:
        min_share: smallest share of a side, in (0, 1].
        aspect_ratio: smallest and largest ratio of height to width.
        num_tries: draws at the most.

    Raises:
        ValueError: ``min_share`` outside (0, 1].
    """

    def __init__(
        self, min_share: float = 0.8, aspect_ratio: tuple[float, float] = (0.5, 2.0), num_tries: int = 50
    ) -> None:
        if not 0 < min_share <= 1:
            raise ValueError(f'Expected `min_share` to be in (0, 1], but got {min_share}.')
        self.min_share, self.aspect_ratio, self.num_tries = min_share, aspect_ratio, num_tries

    def transform(self, results: dict) -> dict:
        """Crop ``results['img']``, an image (H, W, 3), and set ``img_shape``."""
        image = results['img']
        sides = np.array(image.shape[:2])
        for _ in range(self.num_tries):
            height, width = np.maximum((sides * np.random.uniform(self.min_share, 1, 2)).astype(int), 1)
            if self.aspect_ratio[0] <= height / width <= self.aspect_ratio[1]:
                top, left = np.random.randint(sides - (height, width) + 1)
                image = image[top : top + height, left : left + width]
                break
        results.update(img=image, img_shape=image.shape[:2])
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(min_share={self.min_share}, aspect_ratio={self.aspect_ratio}, '
            f'num_tries={self.num_tries})'
        )
