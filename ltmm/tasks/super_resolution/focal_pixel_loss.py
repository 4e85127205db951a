"""Losses per pixel: L1, and L1 with the weights of focal pixel learning."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltmm.models.losses.base import at_least_float32
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['FocalPixelLoss', 'PixelLoss', 'focal_pixel_weight']

NORMS = ('batch', 'image')


def min_max(value: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Return minimum and maximum over the batches of all ranks (scalars), or of each image, (N, 1, ...)."""
    if norm == 'image':
        per_image = tuple(range(1, value.dim()))
        return value.amin(per_image, keepdim=True), value.amax(per_image, keepdim=True)
    empty = value.new_full((1,), torch.inf), value.new_full((1,), -torch.inf)
    lowest, highest = (value.amin(), value.amax()) if value.numel() else (part[0] for part in empty)
    all_reduce(lowest, op='min')
    all_reduce(highest, op='max')
    return lowest, highest


@torch.no_grad()
def focal_pixel_weight(error: Tensor, alpha: float = 1.0, gamma: float = 1.0, norm: str = 'batch') -> Tensor:
    r"""Compute the weight of each pixel, :math:`\gamma \exp(\alpha \frac{e - \min e}{\max e - \min e})`.

    The largest error gets :math:`e^\alpha` times the weight of the smallest. Equal errors get :math:`\gamma`.

    Args:
        error: Absolute error of each pixel, (N, ...).
        alpha: Logarithm of the ratio of the largest to the smallest weight.
        gamma: Weight of the smallest error.
        norm: Minimum and maximum of the whole ``'batch'``, over all ranks, or of each ``'image'``.
    """
    lowest, highest = min_max(error, norm)
    span = (highest - lowest).clamp(min=torch.finfo(error.dtype).tiny)
    return gamma * torch.exp(alpha * (error - lowest) / span)


@MODELS.register_module()
class PixelLoss(NeedsWholeBatch, nn.Module):
    """L1 loss of dense regression, in which the many easy pixels outvote the few hard ones.

    A subclass weights the pixels in :meth:`weight`.

    Args:
        loss_weight: Weight of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check(loss_weight=(loss_weight, '>= 0'))
        self.loss_weight = loss_weight

    @property
    def needs_whole_batch(self) -> bool:
        return False

    def weight(self, error: Tensor, prior_error: Tensor) -> Tensor | float:
        """Return the weight of each pixel.

        Args:
            error: Absolute error of the prediction, (N, ...).
            prior_error: Absolute error of the prediction that needs no learning, (N, ...).
        """
        return 1.0

    def forward(self, pred: Tensor, target: Tensor, prior: Tensor) -> Tensor:
        """Compute the mean over pixels and channels.

        Args:
            pred: Prediction, (N, C, H, W) or any other shape (N, ...).
            target: Target, of the same shape.
            prior: Prediction that needs no learning, such as the bicubic enlargement, of the same shape.
        """
        if not pred.shape == target.shape == prior.shape:
            shapes = [tuple(part.shape) for part in (pred, target, prior)]
            raise InputError(
                f'{type(self).__name__}: expected prediction, target and prior of one shape, but got {shapes}.'
            )
        pred, target, prior = (at_least_float32(part) for part in (pred, target, prior))
        error = (target - pred).abs()
        loss = self.weight(error.detach(), (target - prior).abs()) * error
        return self.loss_weight * loss.sum() / max(loss.numel(), 1)


@MODELS.register_module()
class FocalPixelLoss(PixelLoss):
    r"""Focal pixel learning: pixels with detail, the tail of an image, count more than smooth ones.

    With prediction :math:`\hat y`, target y, prior u (bicubic enlargement) and the weight w of
    :func:`focal_pixel_weight`

    .. math::
        L = \frac{1}{n} \sum_i w_s(|y_i - u_i|) \, w_l(|y_i - \hat y_i|) \, |y_i - \hat y_i|

    The static prior :math:`w_s` says where the image has structure, the learnable one :math:`w_l` where the network
    still errs; both are constants for the gradient. The same holds for any dense regression with a cheap first guess.

    Rethinking Image Super Resolution From Long-Tailed Distribution Learning Perspective (Gou et al., CVPR 2023);
    https://github.com/XLearning-SCU/2023-CVPR-FPL @ 4d7b39b.

    Args:
        alpha_static: Strength of the static prior; 0 for none.
        gamma_static: Its smallest weight.
        alpha_learnable: Strength of the learnable prior; 0 for none.
        gamma_learnable: Its smallest weight.
        norm: ``'batch'`` normalizes the errors over the whole batch of all ranks, as the authors do in one process;
            ``'image'`` over each image, so that a loss does not depend on the other images of the batch.
        loss_weight: Weight of the loss.
    """

    def __init__(
        self,
        alpha_static: float = 1.0,
        gamma_static: float = 0.5,
        alpha_learnable: float = 1.0,
        gamma_learnable: float = 1.0,
        norm: str = 'batch',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check(
            alpha_static=(alpha_static, '>= 0'),
            gamma_static=(gamma_static, '> 0'),
            alpha_learnable=(alpha_learnable, '>= 0'),
            gamma_learnable=(gamma_learnable, '> 0'),
            norm=(norm, NORMS),
        )
        self.static = dict(alpha=alpha_static, gamma=gamma_static, norm=norm)
        self.learnable = dict(alpha=alpha_learnable, gamma=gamma_learnable, norm=norm)

    @property
    def needs_whole_batch(self) -> bool:
        return self.static['norm'] == 'batch'

    def weight(self, error: Tensor, prior_error: Tensor) -> Tensor:
        return focal_pixel_weight(prior_error, **self.static) * focal_pixel_weight(error, **self.learnable)
