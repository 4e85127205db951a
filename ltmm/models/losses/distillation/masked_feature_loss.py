"""Feature distillation inside the boxes of head classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from ..base import at_least_float32, divisor
from .base import HeadClassLoss

__all__ = ['MaskedFeatureLoss', 'box_masks', 'masked_feature_loss']


def box_masks(boxes: Tensor, image_of_box: Tensor, num_images: int, size: tuple[int, int]) -> Tensor:
    """Return the union of the boxes of each image on the feature map, bool, (B, H, W).

    A box covers columns floor(x1 W) to floor(x2 W) - 1 and rows ceil(y1 H) to ceil(y2 H) - 1, so a small box may cover
    nothing.

    Args:
        boxes: (x1, y1, x2, y2) relative to width and height, (M, 4).
        image_of_box: Index of the image of each box, (M,).
        num_images: B.
        size: H and W.
    """
    height, width = size
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unbind(1)  # (M, 1)
    columns, rows = (torch.arange(length, device=boxes.device) for length in (width, height))
    in_x = (columns >= (x1 * width).floor()) & (columns < (x2 * width).floor())  # (M, W)
    in_y = (rows >= (y1 * height).ceil()) & (rows < (y2 * height).ceil())  # (M, H)
    of_image = image_of_box == torch.arange(num_images, device=boxes.device).unsqueeze(1)  # (B, M)
    rows_of_image = (of_image.unsqueeze(-1) & in_y).transpose(1, 2)  # (B, H, M)
    return rows_of_image.to(boxes) @ in_x.to(boxes) > 0


def masked_feature_loss(
    features: Sequence[Tensor], teacher_features: Sequence[Tensor], boxes: Tensor, image_of_box: Tensor
) -> Tensor:
    """Compute half the squared distance per covered position, mean over levels and images.

    Args:
        features: Of the student, (B, D, H, W) per level.
        teacher_features: Of the teacher.
        boxes: (x1, y1, x2, y2) relative to width and height, (M, 4).
        image_of_box: Index of the image of each box, (M,).
    """
    losses = []
    for feature, teacher_feature in zip(features, teacher_features):
        mask = box_masks(boxes, image_of_box, len(feature), feature.shape[-2:])  # (B, H, W)
        distance = (feature - teacher_feature).square().sum(1)  # (B, H, W)
        covered = mask.flatten(1).sum(1)  # (B,)
        losses.append((distance * mask).flatten(1).sum(1) / (2 * covered).clamp(min=1))
    losses = torch.stack(losses)  # (K, B)
    return losses.sum() / (len(losses) * divisor(losses.size(1), losses))


@MODELS.register_module()
class MaskedFeatureLoss(HeadClassLoss):
    r"""Squared distance to the features of a frozen teacher, inside the boxes of head classes.

    .. math::
        L = \frac{1}{K B} \sum_{k, b} \frac{1}{2 |M_{kb}|}
        \sum_{p \in M_{kb}} \| x_{kb}(p) - x^T_{kb}(p) \|^2

    with M the positions of level k that are covered by boxes of head classes in image b (see :func:`box_masks`). A
    level of an image without such positions adds 0.

    Boxes are relative to the padded size of the batch, as the feature maps are; [1] uses the size of the image, which
    shifts the boxes if there is padding.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``loss_feature``. This implementation
        reproduces [1] (tests/conformance, ``stepwise``).

    Args:
        loss_weight: Weight of the loss; 1 in [1].
        **kwargs: ``min_images``, ``class_counts`` and ``num_classes`` of
            :class:`~ltmm.models.losses.distillation.base.HeadClassLoss`.
    """

    def __init__(self, *, loss_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)

    def forward(
        self,
        features: Sequence[Tensor],
        teacher_features: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> Tensor:
        """Compute the loss.

        Args:
            features: Of the student, (B, D, H, W) per level.
            teacher_features: Of the teacher.
            boxes: (x1, y1, x2, y2) relative to width and height, (M_b, 4) per image.
            labels: Class indices, (M_b,) per image.
        """
        shapes, expected = ([tuple(x.shape) for x in maps] for maps in (features, teacher_features))
        if shapes != expected:
            raise InputError(
                f'MaskedFeatureLoss: expected features of shapes {expected} as in the teacher, but got {shapes}.'
            )
        image_of_box = torch.cat([torch.full_like(label, image) for image, label in enumerate(labels)])  # (M,)
        is_head = torch.isin(torch.cat(list(labels)), self.get_head_classes())
        boxes = torch.cat(list(boxes))[is_head]
        features = [at_least_float32(feature) for feature in features]
        with torch.autocast(features[0].device.type, enabled=False):
            teacher_features = [feature.to(features[0]) for feature in teacher_features]
            loss = masked_feature_loss(features, teacher_features, boxes.to(features[0]), image_of_box[is_head])
        return self.loss_weight * loss
