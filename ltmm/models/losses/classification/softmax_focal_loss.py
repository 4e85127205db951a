"""Focal loss on the softmax probability of the label."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

from ..base import ClassificationLoss, reduce_loss

__all__ = ['SoftmaxFocalLoss', 'focal_modulation']


def focal_modulation(loss: Tensor, gamma: float) -> Tensor:
    r""":math:`(1 - e^{-\ell})^\gamma \, \ell` of cross entropies; its gradient is finite at 0 for any gamma.

    Args:
        loss: cross entropies, at least 0, (N,).
        gamma: strength, at least 0.
    """
    smallest = torch.finfo(loss.dtype).tiny  # a power below 1 has no derivative at 0
    return (-torch.expm1(-loss)).clamp(min=smallest) ** gamma * loss


@MODELS.register_module()
class SoftmaxFocalLoss(ClassificationLoss):
    r"""Turns down the samples that are already right, most of which are of the head.

    .. math:: \ell = (1 - e^{-w \, \mathrm{CE}})^\gamma \, w \, \mathrm{CE}, \qquad \mathrm{CE} = -\log p_y

    The weight w of a sample is inside of the exponent, as in [1]: with weights, from ``ltmm.ReweightedLoss`` or
    ``ltmm.DeferredReweighting``, rare classes are also turned down less. [1] divides by the batch
    (``normalize='batch_size'``). With soft labels, CE is their cross entropy.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002, for sigmoids; see
        ``ltmm.SigmoidFocalLoss``.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``FocalLoss``. Equal to [1] on its own numbers (tests/conformance,
        ``focal_softmax_ldamrepo``).

    Args:
        gamma: strength, at least 0; 1 in [1].
        **kwargs: loss_weight and reduction of :class:`~ltmm.models.losses.base.ClassificationLoss`.

    Raises:
        ValueError: ``gamma`` is negative.
    """

    accepts_soft_labels = True

    def __init__(self, gamma: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= gamma < float('inf'):
            raise InputError(f'Expected `gamma` to be at least 0, but got {gamma}.')
        self.gamma = gamma

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Cross entropy, (N,)."""
        return F.cross_entropy(cls_score, label, reduction='none')

    def reduce(self, loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | None) -> Tensor:
        """Weigh, modulate and reduce."""
        loss = focal_modulation(loss if weight is None else weight * loss, self.gamma)
        return reduce_loss(loss, None, reduction, avg_factor)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'gamma={self.gamma}, {super().extra_repr()}'
