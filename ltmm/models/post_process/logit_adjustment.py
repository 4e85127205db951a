"""Post-hoc logit adjustment: take the training prior back out of the logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

from .base import PostProcess, linear_layer

__all__ = ['LogitAdjustment', 'adjust_logits', 'prior_offset']


def prior_offset(prior: Tensor, tau: float, eps: float) -> Tensor:
    r""":math:`\log(\pi^\tau + \epsilon)` per class, float64, (C,); 0 for a class without training samples.

    Args:
        prior: share of each class in the training data, (C,).
        tau: strength.
        eps: keeps the logarithm finite.
    """
    offset = torch.log(prior.double() ** tau + eps)
    return torch.where(prior > 0, offset, 0.0)


def adjust_logits(cls_score: Tensor, prior: Tensor, tau: float, eps: float) -> Tensor:
    r""":math:`z - \log(\pi^\tau + \epsilon)`, (N, C).

    Args:
        cls_score: logits, (N, C).
        prior: share of each class in the training data, (C,); a class without training samples keeps its logit, so
            that it is never favoured.
        tau: strength; 1 for a balanced test set, 0 changes nothing.
        eps: keeps the logarithm finite.
    """
    return cls_score - prior_offset(prior, tau, eps).to(cls_score)


@MODELS.register_module()
class LogitAdjustment(UsesClassDistribution, PostProcess):
    r"""Lowers the logits of head classes and raises those of tail classes, by the log of their training frequencies.

    .. math:: z'_c = z_c - \log(\pi_c^\tau + \epsilon)

    It suits a model that was trained by plain cross entropy. The prior comes out of the checkpoint.

    This is the additive adjustment of [0]. The multiplicative one, :math:`z_c / \nu_c^\tau`, is ``ltmm.TauNorm`` for
    :math:`\nu_c = \lVert w_c \rVert`. For :math:`\nu_c = \pi_c` it would push negative logits the wrong way after
    training, so that it is done in training, by ``ltmm.CDTLoss``.

    [0] Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314.
    [1] github.com/google-research/google-research @1d4d2f1, logit_adjustment/main.py. Equal to [1] on its own numbers
        (tests/conformance, ``logit_adjustment``).

    Args:
        tau: strength, at least 0; 1 in [0] without a search.
        eps: of [1], at least 0; it matters where :math:`\pi^\tau` is below 1e-9.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; taken from the
            checkpoint when left out.

    Raises:
        ValueError: a negative ``tau`` or ``eps``.
        RuntimeError: neither the checkpoint nor ``class_counts`` gives the prior.
    """

    strength = 'tau'

    def __init__(
        self,
        tau: float = 1.0,
        eps: float = 1e-12,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= tau < float('inf'):
            raise ValueError(f'Expected `tau` to be at least 0, but got {tau}.')
        if not 0 <= eps < float('inf'):
            raise ValueError(f'Expected `eps` to be at least 0, but got {eps}.')
        self.tau, self.eps = tau, eps
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Keep the prior."""
        self.register_derived('prior', distribution.prior)

    def forward(self, cls_score: Tensor, features: Tensor | None, head: nn.Module) -> Tensor:
        """See :func:`adjust_logits`."""
        num_classes = self.get_class_distribution().num_classes
        if cls_score.size(-1) != num_classes:
            raise ValueError(
                f'LogitAdjustment: expected logits of {num_classes} classes, the number in the training data, '
                f'but got {cls_score.size(-1)}.'
            )
        return adjust_logits(cls_score, self.prior, self.tau, self.eps)

    def fold(self, head: nn.Module) -> bool:
        """Shift the bias."""
        layer = linear_layer(head)
        if layer is None or layer.bias is None:
            return False
        self.get_class_distribution()
        with torch.no_grad():
            layer.bias.copy_(adjust_logits(layer.bias, self.prior, self.tau, self.eps))
        return True

    def settings(self) -> Mapping[str, Any]:
        """See :class:`PostProcess`."""
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(tau=self.tau, eps=self.eps, **counts)
