"""Class-Balanced loss: weights by the effective number of samples."""

from typing import Any

from ltmm.registry import MODELS

from ..base import check_at_least_zero
from .reweighted_loss import ReweightedLoss

__all__ = ['ClassBalancedLoss']

LOSS_TYPES = ('focal', 'sigmoid', 'softmax')


@MODELS.register_module()
class ClassBalancedLoss(ReweightedLoss):
    r"""Counts samples of rare classes for more, but less than the inverse frequency would: head samples overlap.

    .. math::
        w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}, \qquad L = \frac{1}{N} \sum_i w_{y_i} \ell(z_i, y_i)

    beta = 0 weighs nothing, beta towards 1 by the inverse frequency. The loss is a softmax cross entropy, C binary
    cross entropies, or C focal losses; see :class:`SigmoidFocalLoss` on the bias
    to start the last two with, which [1] leaves out of the weight decay.

    [0] Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, arXiv 1901.05555.
    [1] github.com/richardaecn/class-balanced-loss @1d78572. Equal to [1] on its own numbers (tests/conformance,
        ``class_balanced_loss``).

    Args:
        loss_type: ``'softmax'``, ``'sigmoid'`` or ``'focal'``.
        beta: in [0, 1).
        gamma: strength of ``'focal'``, at least 0.
        normalize: see :class:`ReweightedLoss`.
        loss_weight: factor of the loss.
        **kwargs: class_counts and num_classes of :class:`ReweightedLoss`.

    Raises:
        ValueError: unknown ``loss_type``; ``beta``, ``gamma`` or ``loss_weight`` out of range; ``gamma`` missing for
            ``'focal'``, or given for another.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    def __init__(
        self,
        loss_type: str,
        beta: float,
        gamma: float | None = None,
        normalize: str = 'batch_size',
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if loss_type not in LOSS_TYPES:
            raise ValueError(f'Expected `loss_type` to be one of {sorted(LOSS_TYPES)}, but got {loss_type!r}.')
        if (gamma is not None) != (loss_type == 'focal'):
            raise ValueError(
                f"`gamma` belongs to loss_type='focal', but got loss_type={loss_type!r} and gamma={gamma}."
            )
        check_at_least_zero('loss_weight', loss_weight)
        if loss_type == 'softmax':
            loss = dict(type='mmpretrain.CrossEntropyLoss', loss_weight=loss_weight)
        else:
            loss = dict(type='ltmm.SigmoidFocalLoss', gamma=gamma or 0.0, loss_weight=loss_weight)
        super().__init__(loss, 'effective_number', beta=beta, normalize=normalize, **kwargs)
