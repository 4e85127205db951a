"""NCL++: networks that also learn from their own predictions of other views."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .ncl_loss import NestedExpertLoss

__all__ = ['NCLPlusLoss']


@MODELS.register_module()
class NCLPlusLoss(NestedExpertLoss):
    r"""Trains whole networks on several views: each learns from its other views and from the other networks.

    .. math::
        \sum_e \big[ \mathrm{CE}(v_e, y) + \mathrm{CE}(h_e, y) + P(v_e^1, \dots, v_e^V) \big] + P(v_1, \dots, v_E),
        \qquad P(f_1, \dots, f_K) = \frac{2 \alpha}{K (K - 1)} \sum_{i \ne j} \sum_c (1 + m_c) \, p_c(f_j)
        \log \frac{p_c(f_j)}{p_c(f_i)}

    with v and h of :class:`NCLLoss`, and :math:`m_c = 1` for the hard categories: they count twice, with their
    probabilities among all classes. Between views, the hard categories are those of the first view. The sum is over
    ordered pairs, of which there are K (K - 1): the authors' normalizer makes it twice their mean.

    The V views come from ``dict(type='MultiView', num_views=[V], transforms=[strong])`` in the pipeline and
    ``type='ltmm.MultiViewDataPreprocessor'`` for the data preprocessor.

    References:
        [0] Tan et al., NCL++: Nested Collaborative Learning for Long-Tailed Visual Recognition, Pattern Recognition
            2024, arXiv 2306.16709.
        [1] github.com/Bazinga699/NCL @f64fddb, ``NIL_NBOD_plus``. This implementation reproduces [1] to 1e-6
            (tests/conformance, ``ncl_plus`` and ``trajectory_ncl_plus``), with the gradient that [1] had under the
            PyTorch of its time; since 1.13 it is NaN.

    Args:
        num_views: V.
        distill_weight: alpha.
        **kwargs: Arguments of :class:`NestedExpertLoss`.
    """

    def __init__(self, *, num_views: int = 4, distill_weight: float = 0.6, **kwargs: Any) -> None:
        check(num_views=(num_views, 'int >= 1'), distill_weight=(distill_weight, '>= 0'))
        self.num_views, self.distill_weight = num_views, distill_weight
        super().__init__(**kwargs)

    def distillation(self, adjusted: Tensor, hard: Tensor, mask: Tensor, label: Tensor) -> dict[str, Tensor]:
        terms = {}
        for e, logits in enumerate(adjusted):
            views = logits.unflatten(0, (self.num_views, len(label)))  # (V, N, C)
            terms[f'loss_intra{e}'] = self.partial_divergence(views, mask[: len(label)], label)
        return terms | dict(loss_inter=self.partial_divergence(adjusted, mask, label.repeat(self.num_views)))

    def partial_divergence(self, logits: Tensor, mask: Tensor, label: Tensor) -> Tensor:
        """Return P of K predictions.

        Args:
            logits: (K, N, C).
            mask: Hard categories, (N, C).
            label: Class indices, (N,).
        """
        factor = 2 * self.distill_weight / max(len(logits) * (len(logits) - 1), 1)
        return factor * self.mean_divergence(logits, label, 1 + mask.to(logits))

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, num_views={self.num_views}, distill_weight={self.distill_weight}'
