"""Focal loss on the softmax probability of the label."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import ClassificationLoss

__all__ = ['SoftmaxFocalLoss', 'focal_modulation']


def focal_modulation(loss: Tensor, gamma: float, detach: bool = False) -> Tensor:
    r"""Compute :math:`(1 - e^{-\ell})^\gamma \, \ell` from cross entropies, (N,), with a finite gradient at 0.

    Args:
        loss: Cross entropies, (N,).
        gamma: Focusing strength.
        detach: Let no gradient through the factor.
    """
    smallest = torch.finfo(loss.dtype).tiny  # a power below 1 has no derivative at 0
    inner = loss.detach() if detach else loss
    return (-torch.expm1(-inner)).clamp(min=smallest) ** gamma * loss


@MODELS.register_module()
class SoftmaxFocalLoss(ClassificationLoss):
    r"""Cross entropy that down-weights easy samples, most of them of head classes.

    .. math:: \ell = (1 - e^{-w \, \mathrm{CE}})^\gamma \, w \, \mathrm{CE}, \qquad \mathrm{CE} = -\log p_y

    The weight w of a sample is inside the exponent, as in [1]: with ``ltmm.ReweightedLoss`` or
    ``ltmm.DeferredReweighting`` rare classes are also down-weighted less. [1] divides by the batch size
    (``normalize='batch_size'``). ``class_weight`` is a plain factor outside. With soft labels, CE is their cross
    entropy, with ``class_weight`` that of labels in proportion to :math:`t_c w_c`.

    [0] Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002, for sigmoids; see
        ``ltmm.SigmoidFocalLoss``.
    [1] github.com/kaidic/LDAM-DRW @2536330, ``FocalLoss``. Reproduces [1] to 1e-6 (tests/conformance,
        ``focal_softmax_ldamrepo``).
    [2] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``FocalLoss``: with ``detach_focus=True`` and
        gamma 0.5. Reproduces [2] to 1e-6 (tests/conformance, ``fed_baselines``).

    Args:
        gamma: Focusing strength.
        detach_focus: Let no gradient through the factor :math:`(1 - e^{-w \, \mathrm{CE}})^\gamma`, as in [2].
        **kwargs: Arguments of :class:`ClassificationLoss`.
    """

    accepts_soft_labels = True

    def __init__(self, *, gamma: float = 1.0, detach_focus: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(gamma=(gamma, '>= 0'))
        self.gamma, self.detach_focus = gamma, detach_focus

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(cls_score, label, reduction='none')

    def weighted(self, loss: Tensor, weight: Tensor | None) -> Tensor:
        return focal_modulation(super().weighted(loss, weight), self.gamma, self.detach_focus)

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, {super().extra_repr()}'
