"""What the losses share by which a model keeps what a teacher knows of the frequent classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.state.class_distribution import UsesClassDistribution

from ..base import InnerLoss, check_at_least_zero

__all__ = ['HeadClassLoss']


class HeadClassLoss(UsesClassDistribution, InnerLoss):
    """Base of the losses between a model and its teacher that look at the head classes only.

    A subclass has ``head_classes``, the labels (H,) of the classes with more than ``min_images`` training images.

    Args:
        loss_weight: factor of the loss, at least 0.
        min_images: see above; 30 makes 650 of LVIS v1's 1,203 classes head.
        class_counts: training images per class, as a list or ``{class name: count}``; taken from the training data
            when left out.
        num_classes: C, where it is to be checked at build.

    Raises:
        ValueError: a negative ``loss_weight``.
        ClassDistributionError: no class has so many images.
    """

    def __init__(
        self,
        loss_weight: float,
        min_images: int = 30,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_at_least_zero('loss_weight', loss_weight)
        self.loss_weight, self.min_images = loss_weight, min_images
        self.init_class_distribution(class_counts, num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Choose the head classes."""
        head_classes = np.flatnonzero(distribution.image_groups([self.min_images]))
        if not len(head_classes):
            raise ClassDistributionError(
                f'{type(self).__name__}: expected classes with more than min_images={self.min_images} training images, '
                f'but the most frequent has {distribution.image_counts.max()}. Lower `min_images`.'
            )
        head_classes = torch.as_tensor(head_classes, device=self.class_distribution.num_images.device)
        self.register_buffer('head_classes', head_classes, persistent=False)

    def get_head_classes(self) -> Tensor:
        """Labels of the head classes, (H,).

        Raises:
            RuntimeError: no class distribution has arrived.
        """
        self.get_class_distribution()
        return self.head_classes

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'loss_weight={self.loss_weight}, min_images={self.min_images}'
