"""Super-resolution by a network that learns the residual over the bicubic enlargement."""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .focal_pixel_loss import PixelLoss
from .patches import image_to_patches, patches_to_image

__all__ = ['ResidualSR', 'enlarge']


def enlarge(image: Tensor, scale: int) -> Tensor:
    """Enlarge images by PyTorch's bicubic interpolation (coefficient -0.75, corners not aligned).

    Args:
        image: (N, C, H, W).
        scale: Factor.
    """
    return F.interpolate(image, scale_factor=scale, mode='bicubic', align_corners=False)


@MODELS.register_module()
class ResidualSR(BaseModel):
    """Super-resolution network whose output is added to the bicubic enlargement, so that it learns the detail only.

    Args:
        backbone: Network from (N, C, H, W) to (N, C, scale H, scale W), such as ``ltmm.FSRCNN``; gets ``scale``.
        loss: A :class:`PixelLoss`.
        scale: Factor of the enlargement.
        residual: False: the network gives the image itself.
        patch_size: Edge of the patches in which a test runs, in pixels of the small image; None for whole images.
        patch_step: Distance between two patches. The bicubic enlargement is that of the patch, overlaps are averaged.
        patches_at_once: Patches per forward pass.
        data_preprocessor: See :class:`mmengine.model.BaseModel`.
        init_cfg: See :class:`mmengine.model.BaseModel`.
    """

    def __init__(
        self,
        backbone: dict,
        loss: dict,
        scale: int = 4,
        residual: bool = True,
        patch_size: int | None = None,
        patch_step: int = 28,
        patches_at_once: int = 64,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        check(scale=(scale, 'int >= 1'), patches_at_once=(patches_at_once, 'int >= 1'))
        if patch_size is not None:
            check(patch_size=(patch_size, 'int >= 1'), patch_step=(patch_step, range(1, patch_size + 1)))
        self.scale, self.residual = scale, residual
        self.patch_size, self.patch_step, self.patches_at_once = patch_size, patch_step, patches_at_once
        self.backbone = MODELS.build(dict(scale=scale) | backbone)
        self.loss_module = MODELS.build(loss)
        if not isinstance(self.loss_module, PixelLoss):
            raise InputTypeError(
                f'ResidualSR: expected a PixelLoss as `loss`, but got {type(self.loss_module).__name__}.'
            )

    def forward(self, inputs: Tensor, data_samples: dict[str, Any] | None = None, mode: str = 'tensor') -> Any:
        """Return enlarged images (``'tensor'``), the loss (``'loss'``), or a list of results (``'predict'``).

        Args:
            inputs: Small images with values in [0, 1], (N, C, H, W).
            data_samples: ``hr``, the large images, (N, C, scale H, scale W).
            mode: What to return.
        """
        check(mode=(mode, ('tensor', 'loss', 'predict')))
        if mode == 'tensor':
            return self.super_resolve(inputs)
        return self.loss(inputs, data_samples) if mode == 'loss' else self.predict(inputs, data_samples)

    def super_resolve(self, inputs: Tensor) -> Tensor:
        """Enlarge images at once, without limits to the values."""
        output = self.backbone(inputs)
        return output + enlarge(inputs, self.scale) if self.residual else output

    def loss(self, inputs: Tensor, data_samples: dict[str, Any]) -> dict[str, Tensor]:
        """Compute the loss; the bicubic enlargement is its prior."""
        hr, bicubic = data_samples['hr'], enlarge(inputs, self.scale)
        self._check_sizes(inputs, hr)
        output = self.backbone(inputs)
        return dict(loss=self.loss_module(output + bicubic if self.residual else output, hr, bicubic))

    def predict(self, inputs: Tensor, data_samples: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Return ``sr``, ``hr`` and ``bicubic`` of each image, (C, scale H, scale W)."""
        hr = data_samples['hr']
        self._check_sizes(inputs, hr)
        results = self.super_resolve_in_patches(inputs), hr, enlarge(inputs, self.scale)
        return [dict(sr=sr, hr=hr, bicubic=bicubic) for sr, hr, bicubic in zip(*results, strict=True)]

    def _check_sizes(self, inputs: Tensor, hr: Tensor) -> None:
        small, large = tuple(inputs.shape[-2:]), tuple(hr.shape[-2:])
        if large != tuple(self.scale * size for size in small):
            raise InputError(
                f'The model enlarges by {self.scale}, but got small images of {small} and large ones of {large} '
                'pixels: set the same `scale` in model and datasets.'
            )

    def super_resolve_in_patches(self, inputs: Tensor) -> Tensor:
        """Enlarge images in patches, if there is a ``patch_size``."""
        if self.patch_size is None:
            return self.super_resolve(inputs)
        cut = self.patch_size, self.patch_step
        patches = image_to_patches(inputs, *cut).split(self.patches_at_once)
        enlarged = torch.cat([self.super_resolve(part) for part in patches])
        return patches_to_image(enlarged, *inputs.shape[-2:], *cut, scale=self.scale)
