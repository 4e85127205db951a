"""Search the strength with which Causal TDE removes the mean direction of the features."""

from typing import Any

from torch import Tensor, nn

from ltmm.models.layers.causal_cosine import CausalCosine
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from .base import PostProcess

__all__ = ['TotalDirectEffect']


@MODELS.register_module()
class TotalDirectEffect(PostProcess):
    r"""Predicts with another strength of Causal TDE: a larger one lowers frequent classes and raises rare ones.

    .. math:: z_c = \frac{\tau}{K} \sum_k \hat w_c^{k\top} (\hat x^k - \alpha \cos(x^k, m^k) \, \hat m^k)

    For models with the classifier ``dict(type='ltmm.CausalCosine', mode='tde')``, see
    :class:`ltmm.models.CausalCosine`. By a hint of the authors, the mean of :math:`\alpha \cos(x, m)` is near 1 at a
    good strength. In a config it is ``model.head.classifier.alpha``.

    Args:
        alpha: Strength; 0 gives the logits of de-confounded training.
    """

    strength = 'alpha'
    grid = (0, 4, 41)
    replaces_logits = True

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        check(alpha=(alpha, 'finite'))
        self.alpha = alpha

    def check(self, head: nn.Module) -> None:
        if _layer(head) is None:
            raise InputTypeError(
                "TotalDirectEffect needs a head trained with classifier=dict(type='ltmm.CausalCosine', mode='tde'), "
                f'but got {type(head).__name__}.'
            )

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return _layer(head).logits(features, shift=-self.alpha)[1]


def _layer(head: nn.Module) -> CausalCosine | None:
    """Return the classifier of de-confounded training; None if there is no such."""
    layer: Any = dict(head.named_children()).get('fc')
    return layer if isinstance(layer, CausalCosine) and layer.mode == 'tde' else None
