"""Augmentation whose strength depends on the class, for CUDA."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from PIL.Image import Image as PILImage

from ltmm.registry import TRANSFORMS
from ltmm.utils.checks import check
from ltmm.utils.errors import MissingInputError

__all__ = ['MAX_STRENGTH', 'OPERATIONS', 'CurriculumAugment', 'Operation', 'augment']

MAX_STRENGTH = 30


@dataclass(frozen=True)
class Operation:
    """One operation of Pillow.

    Args:
        apply: From an image and a value to an image.
        low: Value at strength 0.
        high: Value at ``MAX_STRENGTH``.
        is_signed: Negate the value half of the time.
    """

    apply: Callable[[PILImage, float], PILImage]
    low: float = 0.0
    high: float = 1.0
    is_signed: bool = False

    def value(self, strength: int) -> float:
        """Return the absolute value at a strength."""
        return self.low + strength / MAX_STRENGTH * (self.high - self.low)


def _filtered(kind: type) -> Operation:
    return Operation(lambda image, _: image.filter(kind))


def _enhanced(kind: type) -> Operation:
    return Operation(lambda image, value: kind(image).enhance(value), 0.1, 1.9)


def _affine(of: Callable[[float], tuple], high: float) -> Operation:
    return Operation(lambda image, v: image.transform(image.size, Image.Transform.AFFINE, of(v)), 0, high, True)


def _enlarge(image: PILImage, factor: float) -> PILImage:
    """Show the center of an image in its full size."""
    (width, height), rest = image.size, (1 - 1 / factor) / 2
    return image.resize(image.size, box=(rest * width, rest * height, (1 - rest) * width, (1 - rest) * height))


OPERATIONS = {
    'flip': Operation(lambda image, _: ImageOps.flip(image)),
    'mirror': Operation(lambda image, _: ImageOps.mirror(image)),
    'edge': _filtered(ImageFilter.EDGE_ENHANCE),
    'detail': _filtered(ImageFilter.DETAIL),
    'smooth': _filtered(ImageFilter.SMOOTH),
    'autocontrast': Operation(lambda image, _: ImageOps.autocontrast(image)),
    'equalize': Operation(lambda image, _: ImageOps.equalize(image)),
    'invert': Operation(lambda image, _: ImageOps.invert(image)),
    'blur': Operation(lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius)), 0, 2),
    'enlarge': Operation(_enlarge, 1, 1.5),
    'rotate': Operation(lambda image, degrees: image.rotate(degrees), 0, 30, True),
    'posterize': Operation(lambda image, bits: ImageOps.posterize(image, max(1, int(bits))), 0, 4),
    'solarize': Operation(lambda image, threshold: ImageOps.solarize(image, threshold), 0, 256),
    'solarize_add': Operation(
        lambda image, value: image.point([min(255, int(x + value)) if x < 128 else x for x in range(256)] * 3), 0, 110
    ),
    'color': _enhanced(ImageEnhance.Color),
    'contrast': _enhanced(ImageEnhance.Contrast),
    'brightness': _enhanced(ImageEnhance.Brightness),
    'sharpness': _enhanced(ImageEnhance.Sharpness),
    'shear_x': _affine(lambda v: (1, v, 0, 0, 1, 0), 0.3),
    'shear_y': _affine(lambda v: (1, 0, 0, v, 1, 0), 0.3),
    'translate_x': _affine(lambda v: (1, 0, v, 0, 1, 0), 100),
    'translate_y': _affine(lambda v: (1, 0, 0, 0, 1, v), 100),
}


def augment(image: np.ndarray, strength: int) -> np.ndarray:
    """Apply ``strength`` random operations, each of that strength, one after the other.

    Args:
        image: RGB, uint8, (H, W, 3).
        strength: 0 to ``MAX_STRENGTH``; 0 leaves the image as it is.
    """
    if not strength:
        return image
    operations, result = list(OPERATIONS.values()), Image.fromarray(image)
    for index in np.random.randint(len(operations), size=strength):
        operation = operations[index]
        sign = np.random.choice((-1, 1)) if operation.is_signed else 1
        result = operation.apply(result, sign * operation.value(strength))
    return np.asarray(result)


@TRANSFORMS.register_module()
class CurriculumAugment(BaseTransform):
    """Augments images of a class the more, the better the model knows the class; ``ltmm.CurriculumHook`` sets how much.

    An image of a class at level L passes L random operations of 22, with repetition, each of strength L of 30. Of many
    operations small strengths are not mild: brightness 0.1 is nearly black, a solarization threshold near 0 inverts,
    and posterization leaves one bit. Translations are in pixels, up to 100.

    [0] Ahn et al., CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition, ICLR 2023, arXiv 2302.05499.
    [1] github.com/sumyeongahn/CUDA_LTR @f4c8d35, with the same operations and ranges; there it follows crop and flip.

    Args:
        prob: Probability to augment an image.
    """

    def __init__(self, prob: float = 0.5) -> None:
        check(prob=(prob, 'in [0, 1]'))
        self.prob = prob
        self.levels = torch.zeros(0, dtype=torch.int64)  # (C,), in memory shared with the workers
        self.strength: int | None = None  # of all images, in place of that of their class

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, an RGB image (H, W, 3) of uint8, of class ``results['gt_label']``."""
        strength = self.strength
        if strength is None:
            if not len(self.levels):
                raise MissingInputError("CurriculumAugment needs dict(type='ltmm.CurriculumHook') in custom_hooks.")
            strength = int(self.levels[int(results['gt_label'])]) if np.random.random() < self.prob else 0
        results['img'] = augment(results['img'], strength)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
