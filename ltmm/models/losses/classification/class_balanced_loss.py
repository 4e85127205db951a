"""Class-Balanced loss: weights by the effective number of samples."""

from typing import Any

from torch import nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..build import TorchCrossEntropy
from ..class_weights import takes_no_class_weight
from .reweighted_loss import ReweightedLoss

__all__ = ['ClassBalancedLoss']

LOSS_TYPES = ('focal', 'sigmoid', 'softmax')


@MODELS.register_module()
@takes_no_class_weight('its weights come from the class counts.')
class ClassBalancedLoss(ReweightedLoss):
    r"""Weights classes by the inverse effective number of samples, a softer form of the inverse frequency.

    .. math::
        w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}, \qquad L = \frac{1}{N} \sum_i w_{y_i} \ell(z_i, y_i)

    beta = 0 gives equal weights, beta towards 1 those by inverse frequency. The loss is softmax cross entropy, binary
    cross entropy or focal loss; :class:`SigmoidFocalLoss` describes the initial bias of the last two, which [1] leaves
    out of the weight decay.

    [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
    [1] github.com/richardaecn/class-balanced-loss @1d78572. Reproduces [1] to 1e-6 (tests/conformance,
        ``class_balanced_loss``).

    Args:
        loss_type: ``'softmax'``, ``'sigmoid'`` or ``'focal'``.
        beta: Of the effective number, in [0, 1).
        gamma: Focusing strength, for ``'focal'`` only.
        normalize: See :class:`ReweightedLoss`.
        loss_weight: Weight of the loss.
        **kwargs: ``class_counts``, ``num_classes`` and ``per_rank`` of :class:`ReweightedLoss`.
    """

    def __init__(
        self,
        *,
        loss_type: str,
        beta: float,
        gamma: float | None = None,
        normalize: str = 'batch_size',
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check(loss_type=(loss_type, LOSS_TYPES), loss_weight=(loss_weight, '>= 0'))
        if (gamma is not None) != (loss_type == 'focal'):
            raise InputError(
                f"`gamma` belongs to loss_type='focal', but got loss_type={loss_type!r} and gamma={gamma}."
            )
        if loss_type == 'softmax':
            loss = TorchCrossEntropy(nn.CrossEntropyLoss(), loss_weight)
        else:
            loss = dict(type='ltmm.SigmoidFocalLoss', gamma=gamma or 0.0, loss_weight=loss_weight)
        super().__init__(loss=loss, kind='effective_number', beta=beta, normalize=normalize, **kwargs)
