"""GLMC's mixing: one view of each image by mixup, the other by CutMix, with the same partner and share."""

import math

import numpy as np
from torch import Tensor

from .base import BATCH_AUGMENTS, mix_rows
from .partners import PartnerBatchAugment

__all__ = ['GlobalLocalMix', 'box_around']

Box = tuple[int, int, int, int]


def box_around(center: tuple[int, int], shape: tuple[int, int], share: float) -> Box:
    r"""Return the box (top, bottom, left, right) of a share :math:`1 - \lambda` of the area, clipped at each edge.

    Its sides are those of the image times :math:`\sqrt{1 - \lambda}`, rounded up to a whole and then down to an even
    number of pixels.

    Args:
        center: Row and column of its center.
        shape: Height and width of the images.
        share: lambda.
    """
    half = [math.ceil(side * math.sqrt(1 - share)) // 2 for side in shape]
    (top, bottom), (left, right) = ((max(c - h, 0), min(c + h, side)) for c, h, side in zip(center, half, shape))
    return top, bottom, left, right


@BATCH_AUGMENTS.register_module()
class GlobalLocalMix(PartnerBatchAugment):
    r"""Mixes both views of each image with those of a partner: the first by mixup, the second by CutMix.

    .. math:: x_1 = \lambda a_1 + (1 - \lambda) b_1, \qquad x_2 = a_2 \text{ with a box of } b_2, \qquad
        y = \lambda y_a + (1 - \lambda) y_b

    b are images of a second stream, in which rare classes can come more often. lambda is one per batch, and that of
    the labels of both views: the box has a share :math:`1 - \lambda` of the area before it is clipped at the borders.

    The stream is that of :class:`~ltmm.models.batch_augments.PartnerBatchAugment`. [1] draws it with replacement.

    [0] Du et al., Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual Recognitions,
        CVPR 2023, arXiv 2305.08661.
    [1] github.com/ynu-yangpeng/GLMC @2c0261c. Reproduces [1] (tests/conformance, ``glmc``).

    Args:
        sampler: Sampler of the second stream. The default draws all images alike. :math:`n_c^{-q}` as the weight of an
            image, :math:`q = 0.2` in [1], is ``dict(type='ltmm.PowerSampler', power=0.8)``, 1 - q.
        alpha: lambda comes from Beta(alpha, alpha).
        exact_area: Have the share of the area outside of the clipped box as lambda of both views and of the labels.
        start: See :class:`BatchAugment`.
        end: See :class:`BatchAugment`.
    """

    num_views = 2

    def __init__(
        self,
        *,
        sampler: dict = dict(type='DefaultSampler', shuffle=True),
        alpha: float = 1.0,
        exact_area: bool = False,
        start: float = 0.0,
        end: float = 1.0,
    ) -> None:
        super().__init__(sampler=sampler, alpha=alpha, start=start, end=end)
        self.exact_area = exact_area

    def draw(self, shape: tuple[int, int]) -> tuple[float, Box]:
        """Draw lambda and the box (top, bottom, left, right), by NumPy's global generator.

        Args:
            shape: Height and width of the images.
        """
        share = np.random.beta(self.alpha, self.alpha)
        top, bottom, left, right = box_around((np.random.randint(shape[0]), np.random.randint(shape[1])), shape, share)
        if self.exact_area:
            share = 1 - (bottom - top) * (right - left) / (shape[0] * shape[1])
        return share, (top, bottom, left, right)

    def mix(self, inputs: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        partners, partner_score = self.read_partners(inputs, score)
        share, (top, bottom, left, right) = self.draw(inputs.shape[-2:])
        num, mixed = len(score), inputs.clone()
        mixed[:num] = mix_rows(inputs[:num], partners[:num], share)
        mixed[num:, :, top:bottom, left:right] = partners[num:, :, top:bottom, left:right]
        return mixed, mix_rows(score, partner_score, share)

    def extra_repr(self) -> str:
        return f'exact_area={self.exact_area}, {super().extra_repr()}'
