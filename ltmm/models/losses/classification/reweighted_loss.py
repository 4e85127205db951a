"""Re-weighting: any loss, with the samples of rare classes counting for more."""

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

__all__ = ['ReweightedLoss', 'sample_weights']

NORMALIZATIONS = ('batch_size', 'weight_sum')


def sample_weights(label: Tensor, class_weight: Tensor) -> Tensor:
    """Weight of each sample, (N,).

    Args:
        label: class indices, (N,), or soft labels, (N, C), which weigh the weights of their classes.
        class_weight: (C,).
    """
    return class_weight[label] if label.dim() == 1 else label.to(class_weight) @ class_weight


@MODELS.register_module()
class ReweightedLoss(UsesClassDistribution, nn.Module):
    r"""Multiplies the loss of each sample by the scarcity of its class, whatever the loss is.

    ====================== =======================================================================
    kind                   :math:`w_c`, scaled to mean 1 over the classes that occur
    ====================== =======================================================================
    ``'inverse'``          :math:`1 / n_c^{\mathrm{power}}`, power 1 when left out
    ``'sqrt_inverse'``     :math:`1 / \sqrt{n_c}`
    ``'effective_number'`` :math:`(1 - \beta) / (1 - \beta^{n_c})`, see ``ltmm.ClassBalancedLoss``
    ====================== =======================================================================

    The mean over classes says nothing of the mean over a batch, where the head with its small weights prevails. Two
    normalisations are in use, and they differ as two learning rates do:

    - ``normalize='weight_sum'``: :math:`\sum_i w_{y_i} \ell_i / \sum_i w_{y_i}`, as PyTorch's cross entropy and the
      code of LDAM-DRW do. The weights of a batch are scaled to mean 1 before the mean over ``avg_factor`` is taken,
      which is N in mmpretrain's heads. With several processes each scales its own part of the batch, as in that code.
    - ``normalize='batch_size'``: :math:`\sum_i w_{y_i} \ell_i / N`, as the code of Class-Balanced Loss and mmpretrain's
      ``class_weight`` do.

    Losses that are not averaged (``reduction='sum'`` or ``'none'``) get the plain weights under both. A class without
    training samples has weight 0. A soft label has the mean weight of its classes.

    [1] github.com/kaidic/LDAM-DRW @2536330; github.com/zhangyongshun/BagofTricks-LT @ce7859a, ``CostSensitiveCE``.
        Equal to both on their own numbers (tests/conformance, ``ldam``, ``drw_effective_number_weights``,
        ``reweight_bagoftricks``).

    Args:
        loss: any loss of ltmm or mmpretrain that takes a weight for each sample.
        kind: see above.
        beta: of ``'effective_number'``, in [0, 1).
        power: of ``'inverse'``, at least 0.
        normalize: ``'weight_sum'`` or ``'batch_size'``.
        class_counts: training images per class, as a list or ``{class name: count}``, for the weights alone; taken from
            the training data when left out.
        num_classes: C, where it is to be checked at build.

    Raises:
        TypeError: ``loss`` takes no ``weight``.
        ValueError: unknown ``kind`` or ``normalize``, ``beta`` or ``power`` out of range or not of this kind; at a
            forward, logits of another number of classes.
        RuntimeError: at the first forward, when no class distribution has arrived (the message says both ways).
    """

    fits = ('cls',)

    def __init__(
        self,
        loss: dict,
        kind: str,
        beta: float | None = None,
        power: float | None = None,
        normalize: str = 'weight_sum',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if normalize not in NORMALIZATIONS:
            raise ValueError(f'Expected `normalize` to be one of {sorted(NORMALIZATIONS)}, but got {normalize!r}.')
        self.kind, self.beta, self.power, self.normalize = kind, beta, power, normalize
        self._weights_of(ClassDistribution([1]))  # refuses what does not go together
        self.loss = MODELS.build(loss)
        if 'weight' not in inspect.signature(self.loss.forward).parameters:
            raise TypeError(
                f'{type(self).__name__}: expected `loss` to take a `weight` of each sample, '
                f'but {type(self.loss).__name__}.forward does not.'
            )
        self.init_class_distribution(class_counts, num_classes)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the weights."""
        self.register_derived('class_weight', self._weights_of(distribution))

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss with weights.

        Args:
            cls_score: logits, (N, C).
            label: class indices, (N,), or, where the loss takes them, soft labels, (N, C).
            weight: a further factor of each sample, (N,).
            avg_factor: what the mean divides by instead of N.
            reduction_override: replaces the ``reduction`` of the loss in this call.
        """
        num_classes = self.get_class_distribution().num_classes
        if cls_score.size(-1) != num_classes:
            raise ValueError(
                f'{type(self).__name__}: expected logits of shape (N, {num_classes}), the number of classes in the '
                f'training data, but got {tuple(cls_score.shape)}.'
            )
        dtype = torch.promote_types(cls_score.dtype, torch.float32)
        weights = sample_weights(label, self.class_weight.to(cls_score.device, dtype))  # (N,)
        total = len(weights)
        if weight is not None:
            weights, total = weights * weight, weight.sum()
        reduction = reduction_override or getattr(self.loss, 'reduction', 'mean')
        if self.normalize == 'weight_sum' and reduction == 'mean':
            weights = weights * total / weights.sum().clamp(min=torch.finfo(dtype).tiny)
        return self.loss(cls_score, label, weight=weights, avg_factor=avg_factor, reduction_override=reduction_override)

    def _weights_of(self, distribution: ClassDistribution) -> np.ndarray:
        return distribution.weights(self.kind, beta=self.beta, power=self.power)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'kind={self.kind!r}, beta={self.beta}, power={self.power}, normalize={self.normalize!r}'
