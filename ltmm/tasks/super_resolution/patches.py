"""Overlapping patches of images, and their average."""

import torch
from torch import Tensor

from ltmm.utils.checks import check

__all__ = ['image_to_patches', 'patches_to_image']


def patch_starts(length: int, size: int, step: int) -> list[int]:
    """Return the first pixel of each patch along an axis; the last patch ends at the border."""
    return [*range(0, length - size, step), max(length - size, 0)]


def patch_pixels(height: int, width: int, size: int, step: int, scale: int = 1) -> Tensor:
    """Return the flat indices of the pixels of each patch, (P, h, w), row of patches by row.

    Args:
        height: Of the image.
        width: Of the image.
        size: Edge of a patch; an image that is smaller is one patch along this axis.
        step: Between two patches.
        scale: Enlargement of image, patches and steps.
    """
    check(size=(size, 'int >= 1'), step=(step, range(1, size + 1)), scale=(scale, 'int >= 1'))
    rows, columns = (
        scale * torch.tensor(patch_starts(length, size, step))[:, None] + torch.arange(scale * min(size, length))
        for length in (height, width)
    )
    pixels = scale * width * rows[:, None, :, None] + columns[None, :, None, :]  # (R, C, h, w)
    return pixels.flatten(0, 1)


def image_to_patches(image: Tensor, size: int, step: int) -> Tensor:
    """Cut images into overlapping patches, (N P, C, h, w), image by image.

    Args:
        image: (N, C, H, W).
        size: Edge of a patch in pixels.
        step: Distance between two patches in pixels; the last of a row is flush with the border.
    """
    pixels = patch_pixels(*image.shape[-2:], size, step).to(image.device)
    return image.flatten(2)[..., pixels].transpose(1, 2).flatten(0, 1)


def patches_to_image(patches: Tensor, height: int, width: int, size: int, step: int, scale: int = 1) -> Tensor:
    """Put patches back, averaged where they overlap; returns (N, C, scale H, scale W).

    Args:
        patches: (N P, C, scale h, scale w), in the order of :func:`image_to_patches`.
        height: Of the image that was cut, H.
        width: Of the image that was cut, W.
        size: As it was cut.
        step: As it was cut.
        scale: Enlargement of the patches since.
    """
    pixels = patch_pixels(height, width, size, step, scale).to(patches.device)
    values = patches.unflatten(0, (-1, len(pixels))).transpose(1, 2).flatten(2)  # (N, C, P h w)
    image = values.new_zeros(*values.shape[:2], scale**2 * height * width)
    index = pixels.flatten()
    image.index_add_(2, index, values)
    count = torch.bincount(index, minlength=image.size(2))
    return (image / count.to(image)).unflatten(2, (scale * height, scale * width))
