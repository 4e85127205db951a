"""Re-weighting: larger weights for samples of rare classes, around any loss."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from ..base import ClassificationLoss, LogitLoss, check_inner_loss, divisor, mean_over_ranks
from ..build import build_loss
from ..class_weights import sample_weights, takes_no_class_weight
from ..objective import Objective

__all__ = ['ClassReweighting', 'ReweightedLoss']

NORMALIZATIONS = ('batch_size', 'weight_sum')


class ClassReweighting(UsesClassDistribution):
    """Mixin of losses that weight the classes in another loss: their weights, and how a batch normalizes them."""

    balances_classes = True
    reweights = True

    def init_reweighting(
        self, kind: str, beta: float | None, power: float | None, normalize: str, per_rank: bool
    ) -> None:
        """Check and keep the settings, see :class:`ReweightedLoss`; call it before the class distribution is set."""
        check(normalize=(normalize, NORMALIZATIONS))
        self.kind, self.beta, self.power, self.normalize, self.per_rank = kind, beta, power, normalize, per_rank
        self._weights_of(ClassDistribution([1]))  # checks kind, beta and power

    def check_weighted_once(self) -> None:
        """Refuse a loss inside that has weights of its own."""
        parts = (part for part in self.loss.modules() if isinstance(part, (LogitLoss, Objective)) and part.reweights)
        if part := next(parts, None):
            name, inner = type(self).__name__, type(part).__name__
            raise InputError(
                f'{name}: {inner} re-weights the classes already: a second weight would multiply the first, or '
                f'cancel. Leave out {name}, or, where {inner} has them, its `class_weight` and `reweight_epoch`.'
            )

    @property
    def needs_whole_batch(self) -> bool:
        return self.normalize == 'weight_sum'

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('class_weight', self._weights_of(distribution))

    def _weights_of(self, distribution: ClassDistribution) -> np.ndarray:
        return distribution.weights(self.kind, beta=self.beta, power=self.power)

    def extra_repr(self) -> str:
        return f'kind={self.kind!r}, beta={self.beta}, power={self.power}, normalize={self.normalize!r}'


@MODELS.register_module()
@takes_no_class_weight('give it to the `loss` inside.')
class ReweightedLoss(ClassReweighting, ClassificationLoss):
    r"""Multiplies the loss of each sample by a weight of its class, larger for rarer classes.

    ====================== =======================================================================
    kind                   :math:`w_c`, scaled to mean 1 over the classes that occur
    ====================== =======================================================================
    ``'inverse'``          :math:`1 / n_c^{\mathrm{power}}`, power 1 when left out
    ``'sqrt_inverse'``     :math:`1 / \sqrt{n_c}`
    ``'effective_number'`` :math:`(1 - \beta) / (1 - \beta^{n_c})`, see ``ltmm.ClassBalancedLoss``
    ====================== =======================================================================

    Two normalizations are in use; they differ like two learning rates:

    - ``normalize='weight_sum'``: :math:`\sum_i w_{y_i} \ell_i / \sum_i w_{y_i}`, as PyTorch's cross entropy and the
      code of LDAM-DRW do. The weights of a batch are scaled to mean 1, over all ranks; with ``per_rank=True`` each rank
      scales its own part, as that code does in several processes.
    - ``normalize='batch_size'``: :math:`\sum_i w_{y_i} \ell_i / N`, as the code of Class-Balanced Loss and mmpretrain's
      ``class_weight`` do.

    With ``reduction='sum'`` or ``'none'`` both use the plain weights. Classes without training images have weight 0.

    Around a loss of several experts, such as ``ltmm.SADELoss``, it is built as
    :class:`~ltmm.models.losses.expert.reweighted_expert_loss.ReweightedExpertLoss`.

    [1] github.com/kaidic/LDAM-DRW @2536330; github.com/zhangyongshun/BagofTricks-LT @ce7859a, ``CostSensitiveCE``.
        Reproduces both to 1e-6 (tests/conformance, ``ldam``, ``drw_effective_number_weights``,
        ``reweight_bagoftricks``).

    Args:
        loss: Any loss of ltmm or mmpretrain that takes a weight per sample, or of several experts, which does not
            re-weight the classes itself; or ``nn.CrossEntropyLoss``. A module, or its config.
        kind: Kind of weights, see the table.
        beta: For ``'effective_number'``, in [0, 1).
        power: For ``'inverse'``.
        normalize: ``'weight_sum'`` or ``'batch_size'``.
        class_counts: Training images per class for the weights. Default: taken from the training data.
        num_classes: C, to check the counts against.
        per_rank: See ``normalize='weight_sum'``.
    """

    around_experts: ClassVar[str] = 'ltmm.ReweightedExpertLoss'  # what it is around a loss of several experts

    def __new__(cls, *, loss: nn.Module | dict | None = None, **kwargs: Any) -> 'ReweightedLoss | Objective':
        around_experts = vars(cls).get('around_experts')  # not of the base: a subclass may be for one classifier only
        kind = loss.get('type') if isinstance(loss, dict) else type(loss)
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if around_experts and isinstance(kind, type) and issubclass(kind, Objective):
            return MODELS.build(dict(kwargs, type=around_experts, loss=loss))
        return super().__new__(cls)

    def __init__(
        self,
        *,
        loss: nn.Module | dict,
        kind: str,
        beta: float | None = None,
        power: float | None = None,
        normalize: str = 'weight_sum',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
        per_rank: bool = False,
    ) -> None:
        super().__init__()
        self.init_reweighting(kind, beta, power, normalize, per_rank)
        self.loss = build_loss(loss)
        self.check_weighted_once()
        check_inner_loss(self.loss, type(self).__name__)
        self.init_class_distribution(class_counts, num_classes)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the weighted loss; for the arguments see :class:`LogitLoss`."""
        self.check_logits(cls_score)
        dtype = torch.promote_types(cls_score.dtype, torch.float32)
        weights = sample_weights(label, self.class_weight.to(cls_score.device, dtype))  # (N,)
        total = divisor(len(weights), weights)
        if weight is not None:
            weights, total = weights * weight, mean_over_ranks(weight.to(weights).sum(), self.per_rank)
        reduction = reduction_override or getattr(self.loss, 'reduction', 'mean')  # losses of mmpretrain may have none
        if self.normalize == 'weight_sum' and reduction == 'mean':
            norm = mean_over_ranks(weights.sum(), self.per_rank)
            weights = weights * total / norm.clamp(min=torch.finfo(dtype).tiny)
        if reduction == 'mean' and not isinstance(self.loss, LogitLoss):  # which ask the other ranks themselves
            avg_factor = divisor(len(weights) if avg_factor is None else avg_factor, weights)
        return self.loss(cls_score, label, weight=weights, avg_factor=avg_factor, reduction_override=reduction_override)
