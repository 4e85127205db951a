"""Random crop with independent height and width."""

import numpy as np
from mmcv.transforms import BaseTransform

from ltmm.registry import TRANSFORMS
from ltmm.utils.checks import check

__all__ = ['RandomSideCrop']


@TRANSFORMS.register_module()
class RandomSideCrop(BaseTransform):
    """Crops to independent random shares of height and width, at a random position.

    As github.com/wutong16/DistributionBalancedLoss @14460d0 does for COCO-MLT and VOC-MLT. A crop of invalid aspect
    ratio is drawn again; after ``num_tries`` draws the image is not cropped.

    Args:
        min_share: Minimum share of a side, in (0, 1].
        aspect_ratio: Minimum and maximum ratio of height to width.
        num_tries: Maximum number of draws.
    """

    def __init__(
        self, min_share: float = 0.8, aspect_ratio: tuple[float, float] = (0.5, 2.0), num_tries: int = 50
    ) -> None:
        check(min_share=(min_share, 'in (0, 1]'))
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
