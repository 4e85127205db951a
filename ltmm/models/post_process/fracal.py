"""FRACAL: calibrate a trained detector by how often, and how widely over the image, the objects of a class occur."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .detector_correction import DetectorCorrection, scores_by_sigmoid

__all__ = ['FRACAL', 'fracal_logits', 'fractal_dimensions', 'frequency_weights']


def fractal_dimensions(centers: np.ndarray, label: np.ndarray, num_classes: int, max_grid: int = 64) -> np.ndarray:
    r"""Compute the box-counting dimension of the objects' positions per class, (C,), at least 1.

    It is the slope of :math:`\log N_c(g)` on :math:`\log g` by least squares, with N the cells that hold an object when
    the image is cut into g x g, over all :math:`g \le \min(\sqrt{n_c}, 64)`: 2 if they lie all over the image, 1 on a
    line. A class of fewer than 4 objects has dimension 1.

    Args:
        centers: Centers of the boxes, (M, 2), as shares of width and height; one outside [0, 1) is in no cell.
        label: Their classes, (M,).
        num_classes: C.
        max_grid: Largest g.
    """
    count = np.bincount(label, minlength=num_classes)
    grids = np.arange(1, max_grid + 1)
    inside = ((centers >= 0) & (centers < 1)).all(1)
    centers, label = centers[inside], label[inside]
    occupied = np.zeros((num_classes, max_grid))  # N
    for g in grids:
        column, row = (centers * g).astype(np.int64).T
        cells = np.zeros((num_classes, g * g), dtype=bool)
        cells[label, row * g + column] = True
        occupied[:, g - 1] = cells.sum(1)
    used = grids**2 <= count[:, None]  # (C, G)
    x, y = np.log(grids) * used, np.log(np.maximum(occupied, 1)) * used
    num = np.maximum(used.sum(1), 1)
    covariance = (x * y).sum(1) - x.sum(1) * y.sum(1) / num
    variance = (x * x).sum(1) - x.sum(1) ** 2 / num
    slope = np.ones(num_classes)
    np.divide(covariance, variance, out=slope, where=count >= 4)
    return np.maximum(slope, 1)


def frequency_weights(image_counts: np.ndarray, num_images: int, base: float = 10) -> np.ndarray:
    r"""Compute :math:`-\log p_c - \log C` per class, (C,), with p the share of the images that hold the class.

    Args:
        image_counts: Training images per class, (C,); 0 counts as 1.
        num_images: All training images; those without an object make no difference between the classes.
        base: Base of the logarithms.
    """
    share = np.maximum(image_counts, 1) / num_images
    return -(np.log(share) + np.log(len(share))) / np.log(base)


def fracal_logits(cls_score: Tensor, weight: Tensor, divisor: Tensor, uses_sigmoid: bool) -> Tensor:
    r"""Compute the logits of the calibrated scores, (..., width); columns after the C classes stay.

    Args:
        cls_score: Logits z, (..., width), those of the C classes first.
        weight: w of :func:`frequency_weights`, (C,), float64.
        divisor: Dimensions to the power of lambda, (C,), float64.
        uses_sigmoid: In a softmax, the division by the divisor is a shift, :math:`z + w - \log D^\lambda`. With
            sigmoids it is the logit of the product :math:`\sigma(z)\,\sigma(z')`, see :class:`FRACAL`.
    """
    classes, others = cls_score[..., : len(weight)], cls_score[..., len(weight) :]
    if uses_sigmoid:
        shift = weight - (divisor / divisor.sum()).log10() - np.log10(len(weight))
        shifted = classes + shift.to(classes)
        # odds of the product: 1 / ((1 + e^-z) (1 + e^-z') - 1)
        classes = -torch.stack([-classes, -shifted, -classes - shifted]).logsumexp(0)
    else:
        classes = classes + (weight - divisor.log()).to(classes)
    return torch.cat([classes, others], dim=-1)


@MODELS.register_module()
class FRACAL(UsesClassDistribution, DetectorCorrection):
    r"""Raises the detection scores of rare classes, and of classes that occur in few places of the image.

    For heads with a softmax over classes and background (w = 0, D = 1), and for heads with one sigmoid per class:

    .. math::
        s_c \propto \frac{\mathrm{softmax}(z + w)_c}{D_c^\lambda}, \qquad
        s_c = \sigma(z_c)\,
            \sigma\Bigl(z_c + w_c - \log_{10} \frac{D_c^\lambda}{\sum_k D_k^\lambda} - \log_{10} C\Bigr), \qquad
        w_c = -\log_{10} p_c - \log_{10} C

    p is the share of the training images with an object that hold the class, from the checkpoint ([1] counts images
    without an object too, which adds 0.003 to w on LVIS v1), and D the dimension of the layout of the class, see
    :func:`fractal_dimensions`, from the boxes of the training data; no image is read. In a softmax this is a shift of
    the logits, which ``fc_cls`` can hold. Heads: see :class:`DetectorCorrection`.

    [1] evaluates with an NMS of 0.3 instead of 0.5 and a score threshold of 1e-4: compare with both held equal.

    References:
        [0] Alexandridis et al., Fractal Calibration for Long-tailed Object Detection, CVPR 2025, arXiv 2410.11774.
        [1] github.com/kostas1515/FRACAL @3543fe4. Reproduced (tests/conformance, ``fracal``). There a class without
            training images gives NaN for all; here 0 images count as 1.

    Args:
        fractal_weight: :math:`\lambda`; 2 in [0], 0 leaves the layouts out.
        base: Base of the logarithms in w.
        dimensions: D, (C,). Default: computed from ``train_dataloader`` of the config.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    needs_num_images = True
    strength = 'fractal_weight'
    grid = None  # no search unless asked for

    def __init__(
        self,
        fractal_weight: float = 2.0,
        base: float = 10,
        dimensions: Sequence[float] | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        check(
            fractal_weight=(fractal_weight, '>= 0'),
            base=(base, '> 1'),
            dimensions=(dimensions, 'a list of numbers >= 1 or None'),
        )
        self.fractal_weight, self.base = fractal_weight, base
        self.dimensions = None if dimensions is None else np.asarray(dimensions, dtype=float)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    @property
    def needs_fit(self) -> bool:
        """Whether the dimensions are still to be computed."""
        return self.dimensions is None

    def fit(self, train: Any, val: Any) -> None:
        """Compute the dimensions, and search the strength if there is a grid.

        Args:
            train: Training data, with ``box_centers()``.
            val: See :meth:`PostProcess.fit`.
        """
        if self.dimensions is None:
            num_classes = len(self.get_class_distribution())
            centers, label = train.box_centers()
            self._check_boxes(label)
            self.dimensions = found = fractal_dimensions(centers, label, num_classes)
            print_log(
                f'Fractal dimensions of {num_classes} classes: mean {found.mean():.3f}, largest {found.max():.3f}, '
                f'{(found == 1).sum()} at 1.',
                'current',
            )
        if self.grid is not None:
            super().fit(train, val)

    def _check_boxes(self, label: np.ndarray) -> None:
        """Raise or warn if the boxes are not those that the class distribution counts, if it counts boxes."""
        distribution = self.get_class_distribution()
        expected, got = distribution.instance_counts, np.bincount(label, minlength=len(distribution))
        if len(got) != len(expected):
            raise InputError(
                f'FRACAL: train_dataloader has boxes of class {len(got) - 1}, but the class counts are of '
                f'{len(expected)} classes. Set train_dataloader to the training data.'
            )
        if np.array_equal(expected, distribution.image_counts):  # as in a list of images per class
            return
        if len(different := np.flatnonzero(got != expected)):
            c = different[0]
            warnings.warn(
                f'FRACAL: train_dataloader has {got[c]} boxes of class {c}, but the class counts say '
                f'{expected[c]} ({len(different)} classes differ). The layouts have to be those of the training data: '
                'set train_dataloader to them.',
                stacklevel=2,
            )

    def correct_logits(self, cls_score: Tensor, uses_sigmoid: bool) -> Tensor:
        distribution = self.get_class_distribution()
        if self.dimensions is None:
            raise InputError('FRACAL needs `dimensions`: call fit(), or pass one number per class.')
        if len(self.dimensions) != len(distribution):
            raise InputError(
                f'FRACAL: expected `dimensions` of {len(distribution)} classes, but got {len(self.dimensions)}.'
            )
        self.check_width(cls_score.size(-1), len(distribution))
        weight = frequency_weights(distribution.image_counts, distribution.num_images, self.base)
        divisor = torch.from_numpy(self.dimensions**self.fractal_weight)
        return fracal_logits(
            cls_score, *(x.to(cls_score.device) for x in (torch.from_numpy(weight), divisor)), uses_sigmoid
        )

    def is_shift(self, head: nn.Module) -> bool:
        return not scores_by_sigmoid(head)

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        dimensions = {} if self.dimensions is None else dict(dimensions=self.dimensions.tolist())
        return dict(fractal_weight=self.fractal_weight, base=self.base, **dimensions, **counts)

    def extra_repr(self) -> str:
        return f'fractal_weight={self.fractal_weight:g}'
