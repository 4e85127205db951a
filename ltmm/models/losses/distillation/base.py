"""Base class of losses that distill a teacher on the head classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.utils.checks import check

from ..base import InnerLoss

__all__ = ['HeadClassLoss']


class HeadClassLoss(UsesClassDistribution, InnerLoss):
    """Base class of losses between a model and its teacher on the head classes.

    Head classes are those with more than ``min_images`` training images.

    Args:
        loss_weight: Weight of the loss.
        min_images: See above. With 30, LVIS v1 has 650 head classes of 1,203.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data.
        num_classes: C, to be checked if given.
    """

    def __init__(
        self,
        *,
        loss_weight: float,
        min_images: int = 30,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check(loss_weight=(loss_weight, '>= 0'))
        self.loss_weight, self.min_images = loss_weight, min_images
        self.init_class_distribution(class_counts, num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        head_classes = np.flatnonzero(distribution.image_groups([self.min_images]))
        if not len(head_classes):
            raise ClassDistributionError(
                f'{type(self).__name__}: no class has more than min_images={self.min_images} training images; the most '
                f'frequent one has {distribution.image_counts.max()}. Lower `min_images`.'
            )
        head_classes = torch.as_tensor(head_classes, device=self.class_distribution.num_images.device)
        self.register_buffer('head_classes', head_classes, persistent=False)

    def get_head_classes(self) -> Tensor:
        """Return the labels of the head classes, (H,)."""
        self.get_class_distribution()
        return self.head_classes

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, min_images={self.min_images}'
