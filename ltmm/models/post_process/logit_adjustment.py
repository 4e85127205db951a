"""Post-hoc logit adjustment: subtract the log class prior from the logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import PostProcess, linear_layer

__all__ = ['LogitAdjustment', 'adjust_logits', 'prior_offset']


def prior_offset(prior: Tensor, tau: float, eps: float) -> Tensor:
    r"""Compute :math:`\log(\pi^\tau + \epsilon)` per class, float64, (C,); 0 for a class without training samples.

    Args:
        prior: Training class frequencies, (C,).
        tau: Strength.
        eps: Keeps the logarithm finite.
    """
    offset = torch.log(prior.double() ** tau + eps)
    return torch.where(prior > 0, offset, 0.0)


def adjust_logits(cls_score: Tensor, prior: Tensor, tau: float, eps: float) -> Tensor:
    r"""Compute :math:`z - \log(\pi^\tau + \epsilon)`, (N, C).

    Args:
        cls_score: Logits, (N, C).
        prior: Training class frequencies, (C,). A class without training samples keeps its logit.
        tau: Strength; 1 suits a balanced test set, 0 changes nothing.
        eps: Keeps the logarithm finite.
    """
    return cls_score - prior_offset(prior, tau, eps).to(cls_score)


@MODELS.register_module()
class LogitAdjustment(UsesClassDistribution, PostProcess):
    r"""Lowers the logits of frequent classes and raises those of rare classes by the log of the class prior.

    .. math:: z'_c = z_c - \log(\pi_c^\tau + \epsilon)

    It suits a model trained with plain cross entropy. The prior is read from the checkpoint.

    This is the additive adjustment of [0]. The multiplicative one, :math:`z_c / \nu_c^\tau`, is ``ltmm.TauNorm`` for
    :math:`\nu_c = \lVert w_c \rVert`. With :math:`\nu_c = \pi_c` it would push negative logits the wrong way after
    training; ``ltmm.CDTLoss`` does it in training.

    References:
        [0] Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314.
        [1] github.com/google-research/google-research @1d4d2f1, logit_adjustment/main.py. Reproduced
            (tests/conformance, ``logit_adjustment``).

    Args:
        tau: Strength; 1 in [0] without a search.
        eps: As in [1]; it matters where :math:`\pi^\tau` is below 1e-9.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    strength = 'tau'
    corrects_prior = True

    def __init__(
        self,
        tau: float = 1.0,
        eps: float = 1e-12,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        check(tau=(tau, '>= 0'), eps=(eps, '>= 0'))
        self.tau, self.eps = tau, eps
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('prior', distribution.prior)

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        expected, got = self.get_class_distribution().num_classes, cls_score.size(-1)
        if got != expected:
            raise InputError(f'LogitAdjustment: expected logits of {expected} classes, but got {got}.')
        return adjust_logits(cls_score, self.prior, self.tau, self.eps)

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = linear_layer(head)
        if layer is None or layer.bias is None:
            return False
        self.get_class_distribution()
        layer.bias.copy_(adjust_logits(layer.bias, self.prior, self.tau, self.eps))
        return True

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(tau=self.tau, eps=self.eps, **counts)
