"""LGLA: local experts for regions of class frequency, a global expert for the tail."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.base import NeedsWholeBatch
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import CosineLoss, divisor, mean_over_ranks
from ..objective import LossInputs
from .base import LOG_EPS, ExpertLoss

__all__ = ['LGLALoss', 'angular_weight', 'frequency_regions']


def frequency_regions(counts: np.ndarray, num_regions: int) -> np.ndarray:
    """Split the classes by frequency into regions with about equally many images; return the region of each, (C,).

    From the rarest class on, images are added up; a region ends with the class at which they exceed ``1 / R`` of all,
    and the sum starts anew. Classes with equally many images share a region. Region 0 holds the most frequent classes;
    it is empty where the last sum ends with the largest class. There are at most R regions; classes without images get
    R, which stands for none.

    Args:
        counts: Images per class, (C,).
        num_regions: R.
    """
    ascending = np.sort(counts)
    total, share = ascending.cumsum(), counts.sum() // num_regions
    cuts, done = [], 0
    while done + share < total[-1]:
        last = np.searchsorted(total, done + share, side='right')
        cuts.append(ascending[last])
        done = total[last]
    region = (counts[:, None] <= np.array(cuts)).sum(1)
    return np.where(counts > 0, region, num_regions)


def angular_weight(cosine: Tensor, region: Tensor, num_regions: int) -> Tensor:
    """Weight samples whose angle to their class is larger than the mean of their region in the batch, (E, N).

    The weight is 1 plus the excess in radians, 1 for samples below the mean and for those of no region.

    Args:
        cosine: Cosine between each sample and the weight of its class, (E, N).
        region: Region of the class of each sample, (N,); R for none.
        num_regions: R.
    """
    angle = cosine.clamp(-1, 1).arccos()
    member = (region.unsqueeze(1) == torch.arange(num_regions, device=region.device)).to(angle)  # (N, R)
    mean = mean_over_ranks(angle @ member) / divisor(member.sum(0), angle)  # (E, R)
    return 1 + (angle - mean @ member.T).clamp(min=0) * member.sum(1)


@MODELS.register_module()
class LGLALoss(CosineLoss, NeedsWholeBatch, ExpertLoss):
    r"""Trains each local expert for the classes of one region of frequency, and a last, global expert for the tail.

    .. math::
        \sum_{e < E} \mathrm{CE}_{a_e}(z_e + \log p_e,\, y) + \mathrm{CE}_{a_E}(z_E + \tau \log\pi,\, y), \qquad
        p_{e,c} = \begin{cases} \pi_c & c \in \text{region } e \\ \max \pi & \text{else} \end{cases}

    A local expert separates the classes of its region as on balanced data, and sees all others as equally frequent.
    The regions are those of :func:`frequency_regions`, the weights a of the samples those of :func:`angular_weight`,
    without gradient; the mean divides by the number of samples. Without a region, a local expert learns by plain
    cross entropy. Predict with the mean of the plain logits. The classifier scales the cosines:
    ``classifier=dict(type='ltmm.NormedLinear', scale=30)``.

    [0] Tao et al., Local and Global Logit Adjustments for Long-Tailed Learning, ICCV 2023.
    [1] github.com/Tao0-0/LGLA @0d72bdb, ``DiverseExpertLoss``. Reproduces [1] to 1e-6 (tests/conformance, ``lgla`` and
        ``trajectory_lgla``); where the code of [1] fails, with two experts and with fewer regions than local experts,
        the above holds.

    Args:
        num_experts: E, at least 2.
        tau: Strength of the global expert: 2.5 for CIFAR100-LT, 2.8 for ImageNet-LT with ResNet-50, 2.4 for Places-LT
            in [1]. Default: 3, or 1 with two experts.
        scale: Factor of the cosines, the same as of the classifier.
        **kwargs: Arguments of :class:`ExpertLoss`.
    """

    scaled_by_layer = True

    def __init__(self, *, num_experts: int = 3, tau: float | None = None, scale: float = 30.0, **kwargs: Any) -> None:
        check(num_experts=(num_experts, 'int >= 2'), tau=(tau, '>= 0 or None'), scale=(scale, '> 0'))
        self.num_experts, self.scale = num_experts, scale
        self.tau = tau if tau is not None else 1.0 if num_experts == 2 else 3.0
        super().__init__(**kwargs)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        prior, num_regions = distribution.prior, self.num_experts - 1
        region = frequency_regions(distribution.instance_counts, num_regions)
        of_expert = region == np.arange(num_regions)[:, None]  # (E - 1, C)
        local = np.log(np.where(of_expert, prior, prior.max()) + LOG_EPS)
        self.register_derived('bias', np.vstack([local, self.tau * np.log(prior + LOG_EPS)]))  # (E, C)
        self.register_buffer('region', torch.as_tensor(region, device=self.bias.device), persistent=False)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits, label = inputs.expert_logits, inputs.label  # (E, N, C)
        target = label.expand(len(logits), -1)  # (E, N)
        cosine = logits.detach().gather(2, target.unsqueeze(2)).squeeze(2) / self.scale
        weight = angular_weight(cosine, self.region[label], self.num_experts - 1)
        adjusted = logits + self.bias.to(logits).unsqueeze(1)
        loss = F.cross_entropy(adjusted.flatten(0, 1), target.flatten(), reduction='none').view_as(target)
        losses = self.weighted(weight * loss, label).sum(1) / divisor(len(label), loss)  # (E,)
        *local, last = losses
        return {f'loss_local{e}': term for e, term in enumerate(local)} | dict(loss_global=last)

    def extra_repr(self) -> str:
        return f'num_experts={self.num_experts}, tau={self.tau}, scale={self.scale}'
