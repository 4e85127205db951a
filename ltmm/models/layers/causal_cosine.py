"""Cosine classifiers that subtract, add or ignore the mean direction of all features: causal TDE and COMIC."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltmm.models.state.base import TrainingState
from ltmm.models.state.progress import UsesLearningRate
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .normed_linear import CosineLayer

__all__ = ['CausalCosine', 'RunningDirection', 'causal_cosine']

MODES = ('balanced', 'head', 'tail', 'tde')
EPS = 1e-12  # as in F.normalize: a weight vector of zeros gives the cosine 0 without gamma


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
    weight = weight / (weight.norm(dim=2, keepdim=True) + gamma).clamp(min=EPS)
    cosine = F.linear(x.flatten(1), weight.flatten(1)) / x.size(1)  # (N, C)
    with_direction = (x * direction).sum(dim=2)  # (N, K)
    of_direction = (weight * direction).sum(dim=2) / x.size(1)  # (C, K)
    return cosine, cosine + shift * F.linear(with_direction, of_direction)


class RunningDirection(UsesLearningRate, TrainingState):
    r"""Exponentially decaying sum of the mean features of all batches, over all ranks.

    .. math:: m \leftarrow \mu \, m + \bar x, \qquad \mu = 1 - (1 - \mu_0) \min(\eta / \eta_0, 1)

    Args:
        num_features: D.
        momentum: :math:`\mu_0`.
        lr_bound: :math:`\eta_0`, the learning rate :math:`\eta` below which the momentum grows to 1. Default: the
            momentum is constant.

    Attributes:
        total: m, (D,), float32; only its direction is used.
    """

    def __init__(self, num_features: int, momentum: float, lr_bound: float | None = None) -> None:
        super().__init__()
        self.momentum, self.lr_bound = momentum, lr_bound
        self.register_buffer('total', torch.zeros(num_features))

    def current_momentum(self) -> float:
        """Return the momentum at the present learning rate."""
        if self.lr_bound is None:
            return self.momentum
        return 1 - (1 - self.momentum) * min(self.get_learning_rate() / self.lr_bound, 1.0)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add the mean of a batch; does nothing in evaluation mode.

        Args:
            x: Features, (N, D).
        """
        if self.training:
            batch = torch.cat([x.sum(dim=0, dtype=self.total.dtype), self.total.new_tensor([len(x)])])  # (D + 1,)
            all_reduce(batch)
            self.total.mul_(self.current_momentum()).add_(batch[:-1] / batch[-1].clamp(min=1))


@MODELS.register_module()
class CausalCosine(CosineLayer, nn.Module):
    r"""Cosine classifier that removes from a feature, or adds, its part along the mean direction of all features.

    .. math:: z_c = \frac{\tau}{K} \sum_k \frac{w_c^{k\top} (\hat x^k + s \cos(x^k, m^k) \, \hat m^k)}{\lVert w_c^k
        \rVert + \gamma}, \qquad \hat v = v / \lVert v \rVert

    K heads split every vector into K parts. The mean direction m of all features, see :class:`RunningDirection`, is
    dominated by frequent classes; it is updated in training, equal on all ranks and saved in the checkpoint.

    ============== ================ ==========================================================================
    mode           s                use
    ============== ================ ==========================================================================
    ``'tde'``      :math:`-\alpha`  Causal TDE [0]: trains with s = 0 (de-confounded training) and predicts the
                                    total direct effect, which lowers frequent classes and raises rare ones
    ``'head'``     -1               COMIC [1]: :meth:`with_moved` returns the logits for s = 0 and for this s
    ``'tail'``     :math:`\alpha`   the same
    ``'balanced'`` 0                no mean direction
    ============== ================ ==========================================================================

    For TDE, change :math:`\alpha` without training: ``--cfg-options model.head.classifier.alpha=2``, or search it with
    :class:`ltmm.models.TotalDirectEffect`. Until the first training step m = 0, and TDE changes nothing.

    [0] Tang et al., Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum Causal Effect,
        NeurIPS 2020, arXiv 2009.12991.
    [1] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [2] github.com/KaihuaTang/Long-Tailed-Recognition.pytorch @5c916d0. Reproduces [2] to 1e-6 (tests/conformance,
        ``causal_tde`` and ``trajectory_causal_tde``).
    [3] github.com/wannature/COMIC @1de14e5, ``Causal_Norm_Classifier`` of HeadNormClassifier.py, TailNormClassifier.py
        and CausalNormClassifier.py. Reproduces [3] (``comic_classifier`` and ``trajectory_comic``).

    Args:
        in_features: D.
        out_features: C.
        mode: See the table.
        scale: :math:`\tau`.
        num_heads: K; divides D. [2] has 2.
        alpha: :math:`\alpha`. [2] has 1 for CIFAR10-LT, 1.5 for CIFAR100-LT, 3 for ImageNet-LT and Places-LT.
        gamma: :math:`\gamma`; 0 gives plain cosines.
        momentum: :math:`\mu_0` of the mean direction.
        lr_bound: :math:`\eta_0` of the mean direction. [2] has 0.02 for ImageNet-LT and Places-LT.
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
        lr_bound: float | None = None,
    ) -> None:
        super().__init__()
        check(mode=(mode, MODES), scale=(scale, '> 0'), num_heads=(num_heads, 'int >= 1'), alpha=(alpha, 'finite'))
        check(gamma=(gamma, '>= 0'), momentum=(momentum, 'in [0, 1)'), lr_bound=(lr_bound, '> 0 or None'))
        if in_features % num_heads:
            raise InputError(f'Expected `num_heads` to divide in_features={in_features}, but got {num_heads}.')
        self.in_features, self.out_features, self.mode = in_features, out_features, mode
        self.scale, self.num_heads, self.alpha, self.gamma = scale, num_heads, alpha, gamma
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.embedding = None if mode == 'balanced' else RunningDirection(in_features, momentum, lr_bound)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Initialize uniformly within :math:`\pm 1 / \sqrt{D}`."""
        bound = self.in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D), not moved unless mode ``'tde'`` predicts."""
        if self.mode != 'tde':
            return self.logits(x)[0]
        plain, moved = self.with_moved(x)
        return plain if self.training else moved

    def with_moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the features and of the moved features, both (N, C).

        In training the running mean is updated first.

        Args:
            x: Features, (N, D).
        """
        if self.embedding is not None:
            self.embedding.update(x)
        return self.logits(x)

    def logits(self, x: Tensor, shift: float | None = None) -> tuple[Tensor, Tensor]:
        """Return what :meth:`with_moved` does, without an update of the running mean.

        Args:
            x: Features, (N, D).
            shift: s. Default: that of the mode.
        """
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        parts = (self.num_heads, -1)
        with torch.autocast(x.device.type, enabled=False):
            x, weight = x.unflatten(1, parts), self.weight.unflatten(1, parts)
            if self.embedding is None:
                direction, shift = weight.new_zeros(()), 0.0
            else:
                direction = F.normalize(self.embedding.total.to(x).unflatten(0, parts), dim=1)
                shift = dict(head=-1.0, tail=self.alpha, tde=-self.alpha)[self.mode] if shift is None else shift
            plain, moved = causal_cosine(x, weight, direction, shift, self.gamma)
            return self.scale * plain, self.scale * moved

    def extra_repr(self) -> str:
        return f'in_features={self.in_features}, out_features={self.out_features}, mode={self.mode!r}'
