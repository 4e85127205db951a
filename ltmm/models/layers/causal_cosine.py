"""Cosine classifiers of COMIC, which subtract, add or ignore the mean direction of all features."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltmm.models.state.base import TrainingState
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .normed_linear import CosineLayer

__all__ = ['CausalCosine', 'RunningDirection', 'causal_cosine']

MODES = ('balanced', 'head', 'tail')


def causal_cosine(x: Tensor, weight: Tensor, direction: Tensor, shift: float, gamma: float) -> tuple[Tensor, Tensor]:
    r"""Compute the cosines of the weights with x and with :math:`x + s \cos(x, c)\, c`, both (N, C).

    With K heads, every vector is split into K parts, which are normalized separately; the cosines of the parts are
    averaged.

    Args:
        x: Features, (N, K, D / K).
        weight: (C, K, D / K).
        direction: c, unit vectors or zeros, (K, D / K).
        shift: s.
        gamma: Added to the norms of the weights.
    """
    x = F.normalize(x, dim=2)
    weight = weight / (weight.norm(dim=2, keepdim=True) + gamma)
    cosine = F.linear(x.flatten(1), weight.flatten(1)) / x.size(1)  # (N, C)
    with_direction = (x * direction).sum(dim=2)  # (N, K)
    of_direction = (weight * direction).sum(dim=2) / x.size(1)  # (C, K)
    return cosine, cosine + shift * F.linear(with_direction, of_direction)


class RunningDirection(TrainingState):
    """Exponentially decaying sum of the mean features of all batches, over all ranks.

    Args:
        num_features: D.
        momentum: Factor of the sum at every batch.

    Attributes:
        total: (D,), float32; only its direction is used.
    """

    def __init__(self, num_features: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer('total', torch.zeros(num_features))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add the mean of a batch; does nothing in evaluation mode.

        Args:
            x: Features, (N, D).
        """
        if self.training:
            batch = torch.cat([x.sum(dim=0, dtype=self.total.dtype), self.total.new_tensor([len(x)])])  # (D + 1,)
            all_reduce(batch)
            self.total.mul_(self.momentum).add_(batch[:-1] / batch[-1].clamp(min=1))


@MODELS.register_module()
class CausalCosine(CosineLayer, nn.Module):
    r"""Cosine classifier that can also return the logits of features moved along the mean direction.

    .. math:: z_c = \tau \, \frac{w_c^\top x}{(\lVert w_c \rVert + \gamma) \lVert x \rVert}

    The mean direction c of all features is dominated by frequent classes. Mode ``'head'`` moves a feature by
    :math:`-\cos(x, c)\, c`, mode ``'tail'`` by :math:`+\alpha \cos(x, c)\, c`, mode ``'balanced'`` not at all. c is
    a running mean, :math:`m \leftarrow 0.9\, m + \bar x` and :math:`c = m / \lVert m \rVert`, updated in training,
    equal on all ranks and saved in the checkpoint.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, ``Causal_Norm_Classifier`` of HeadNormClassifier.py, TailNormClassifier.py
        and CausalNormClassifier.py, derived from Tang et al., NeurIPS 2020. This implementation reproduces [1]
        (tests/conformance, ``comic_classifier``).

    Args:
        in_features: D.
        out_features: C.
        mode: ``'head'``, ``'tail'`` or ``'balanced'``.
        scale: :math:`\tau`.
        num_heads: K; divides D.
        alpha: :math:`\alpha` of mode ``'tail'``.
        gamma: :math:`\gamma`.
        momentum: Of the running mean.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        mode: str = 'balanced',
        scale: float = 16.0,
        num_heads: int = 1,
        alpha: float = 2.0,
        gamma: float = 1 / 32,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        check(mode=(mode, MODES), scale=(scale, '> 0'), momentum=(momentum, 'in [0, 1)'))
        if in_features % num_heads:
            raise InputError(f'Expected `num_heads` to divide in_features={in_features}, but got {num_heads}.')
        self.in_features, self.out_features, self.mode = in_features, out_features, mode
        self.scale, self.num_heads, self.alpha, self.gamma = scale, num_heads, alpha, gamma
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.embedding = None if mode == 'balanced' else RunningDirection(in_features, momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Initialize uniformly within :math:`\pm 1 / \sqrt{D}`."""
        bound = self.in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D)."""
        return self._logits(x)[0]

    def with_moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the features and of the moved features, both (N, C).

        In training the running mean is updated first.

        Args:
            x: Features, (N, D).
        """
        if self.embedding is not None:
            self.embedding.update(x)
        return self._logits(x)

    def _logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        parts = (self.num_heads, -1)
        with torch.autocast(x.device.type, enabled=False):
            x, weight = x.unflatten(1, parts), self.weight.unflatten(1, parts)
            if self.embedding is None:
                direction, shift = weight.new_zeros(()), 0.0
            else:
                direction = F.normalize(self.embedding.total.to(x).unflatten(0, parts), dim=1)
                shift = -1.0 if self.mode == 'head' else self.alpha
            plain, moved = causal_cosine(x, weight, direction, shift, self.gamma)
            return self.scale * plain, self.scale * moved

    def extra_repr(self) -> str:
        return f'in_features={self.in_features}, out_features={self.out_features}, mode={self.mode!r}'
