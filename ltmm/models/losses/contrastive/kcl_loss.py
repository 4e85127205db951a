"""KCL: supervised contrastive learning with the same number of positives for every image."""

from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .supervised_contrast import Contrast, SupervisedContrast, supervised_contrast

__all__ = ['KCLLoss', 'sample_positives']


def sample_positives(is_positive: Tensor, draws: Tensor) -> Tensor:
    """Choose some positives of each anchor, with replacement, (N, M).

    Args:
        is_positive: (N, M).
        draws: Uniform numbers in [0, 1), (K, N): draw k takes the :math:`\\lfloor u_{ki} n_i \\rfloor`-th of the
            :math:`n_i` positives of anchor i.
    """
    order = is_positive.cumsum(1, dtype=torch.int32)  # (N, M): 1 at the first positive, 2 at the second ...
    num = is_positive.sum(1, dtype=torch.int32)  # (N,)
    wanted = torch.minimum((draws * num).int() + 1, num).T.contiguous()  # (N, K)
    column = torch.searchsorted(order, wanted).clamp(max=is_positive.size(1) - 1)  # (N, K)
    return torch.zeros_like(is_positive).scatter(1, column, True) & is_positive


@MODELS.register_module()
class KCLLoss(SupervisedContrast):
    r"""Pulls each image towards K others of its class, as many in rare classes as in frequent ones.

    .. math:: \ell_i = -\frac{1}{1 + |P_i|} \sum_{p \in P_i \cup \{i'\}} \log \frac{e^{z_i \cdot z_p / T}}
        {\sum_{k \ne i} e^{z_i \cdot z_k / T}}

    P_i are K images drawn anew, with replacement, from those of the class of i in the queue, or in the batches of all
    ranks; i' is the own key, or the other views of i. Each rank draws by PyTorch's generator, which
    ``ltmm.EpochSeedHook`` seeds for each epoch and rank.

    References:
        [0] Kang et al., Exploring Balanced Feature Spaces for Representation Learning, ICLR 2021.
        [1] github.com/JackHck/SBCL @3b9047a, ``KCL``, the first half of SBCL on ImageNet-LT. Reproduces [1] to 1e-6
            (tests/conformance, ``sbcl`` and ``trajectory_sbcl_moco``), where empty slots of the queue hold random
            vectors, which count as negatives; here they do not.

    Args:
        num_positives: K; 6 in [0] and [1]. None: all, which is ``ltmm.SupConLoss``.
        temperature: T; 0.07 in [0] and [1].
        **kwargs: Arguments of :class:`SupervisedContrast`.
    """

    def __init__(self, *, num_positives: int | None = 6, temperature: float = 0.07, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(num_positives=(num_positives, 'int >= 1 or None'), temperature=(temperature, '> 0'))
        self.num_positives, self.temperature = num_positives, temperature

    def losses(self, contrast: Contrast) -> dict[str, Tensor]:
        is_positive = contrast.same_class
        if self.num_positives is not None:
            draws = draw_uniform(self.num_positives, is_positive)
            is_positive = sample_positives(is_positive & ~contrast.is_own, draws) | contrast.is_own
        loss = supervised_contrast(contrast.cosine / self.temperature, is_positive, contrast.is_candidate)
        return dict(loss_contrastive=loss)

    def extra_repr(self) -> str:
        return f'num_positives={self.num_positives}, temperature={self.temperature}'


def draw_uniform(num: int, mask: Tensor) -> Tensor:
    """Draw float64 numbers in [0, 1) for each row of a mask, (num, N)."""
    return torch.rand(num, len(mask), dtype=torch.float64, device=mask.device)
