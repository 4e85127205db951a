"""Class counts of clients, estimated by the server from their updates of the classifier."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

__all__ = ['NOISES', 'ProxyNoise', 'class_growth', 'estimate_counts', 'in_place_growth', 'total_counts']

NOISES = ('gaussian', 'laplace')


def class_growth(before: Tensor, after: Tensor) -> Tensor:
    r"""Compute how much local training grew the classifier of each class, (..., C): more for classes with more images.

    .. math:: s_c = \sum_d \frac{1}{E} \sum_e (W^{after}_{e c d} - W^{before}_{e c d})

    Args:
        before: Classifier weights that the server sent, (..., E, C, D).
        after: Weights after one epoch of plain cross entropy at a client, (..., E, C, D).
    """
    return (after.mean(-3) - before.mean(-3)).sum(-1)


def in_place_growth(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute :func:`class_growth` as the published code does, whose reference drifts from client to client.

    Its mean over the experts overwrites the classifier of expert 0 of the global model, which then is part of the mean
    for the next client, :math:`g_0 \leftarrow \frac1E \sum_e g_e`. All clients but the first are biased by it.

    Args:
        before: Classifier weights that the server sent, (E, C, D).
        after: Weights of the K clients, in their order, (K, E, C, D).

    Returns:
        The growth, (K, C), and the weight that expert 0 of the global model is left with, (C, D).
    """
    first, others = before[0], before[1:].sum(0)
    growth = []
    for weight in after:
        first = (first + others) / len(before)
        growth.append((weight.mean(0) - first).sum(-1))
    return torch.stack(growth), first


def estimate_counts(growth: Tensor, num_samples: Tensor) -> Tensor:
    r"""Estimate the images per client and class, (K, C), int64.

    .. math:: \hat n_{kc} = \mathrm{round}\Big(N_k \frac{\max(s_{kc}, 0)}{\sum_j \max(s_{kj}, 0)}\Big)

    with :math:`10^{-5}` in place of 0. A client whose growth is not finite counts nothing.

    [0] Zeng et al., Global Balanced Experts for Federated Long-tailed Learning, ICCV 2023.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``server_estimate_global_distribution``.
        Equal to [1] (tests/conformance, ``fed_gbme`` and ``trajectory_gbme``).

    Args:
        growth: s of :func:`class_growth`, (K, C).
        num_samples: Images of each client, (K,).
    """
    finite = growth.isfinite().all(1, keepdim=True)
    positive = torch.where((growth > 0) & finite, growth, 1e-5)
    counts = (positive / positive.sum(1, keepdim=True) * num_samples.to(growth).unsqueeze(1)).round()
    return torch.where(finite, counts, 0).long()


def total_counts(client_counts: Tensor, min_count: int = 5) -> Tensor:
    """Sum the estimates of all clients, (C,), at least ``min_count`` per class.

    Args:
        client_counts: (K, C).
        min_count: 5 in the published code.
    """
    return client_counts.sum(0).clamp(min=min_count)


@dataclass(frozen=True)
class ProxyNoise:
    r"""Noise on what the server learns of a client's classes: frequent and rare ones become harder to tell.

    A client clips its growth s, (C,), to the norm B (L2 for Gaussian, L1 for Laplace noise) and adds noise of scale
    ``multiplier`` B before it sends it. As each client sends once, and any data could stand in place of its own, the
    sensitivity is 2 B. Laplace noise then is :math:`\varepsilon`-private with :math:`\varepsilon = 2 /
    \mathrm{multiplier}`; Gaussian noise is accounted for by opacus (extra ``federated``) as one step with noise
    multiplier ``multiplier`` / 2.

    **This holds for the estimate of the counts only**, and the number of a client's images is sent as it is. The rounds
    of the training send weights without noise, which tell more than the counts do.

    Args:
        kind: ``'gaussian'`` or ``'laplace'``.
        multiplier: Scale of the noise over B: standard deviation, or scale of the Laplace distribution.
        max_norm: B.
        delta: Of the Gaussian guarantee.
    """

    kind: str = 'gaussian'
    multiplier: float = 1.0
    max_norm: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        check(
            kind=(self.kind, NOISES),
            multiplier=(self.multiplier, '> 0'),
            max_norm=(self.max_norm, '> 0'),
            delta=(self.delta, 'in (0, 1)'),
        )

    def __call__(self, growth: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Clip the growth of each client, (K, C), and add noise.

        Args:
            growth: Growth, (K, C).
            generator: Generator on the CPU.
        """
        norm = growth.norm(2 if self.kind == 'gaussian' else 1, dim=1, keepdim=True)
        clipped = growth * (self.max_norm / norm.clamp(min=self.max_norm))
        if self.kind == 'gaussian':
            noise = torch.randn(growth.shape, generator=generator, dtype=torch.float64)
        else:  # the difference of two exponential variables
            pair = torch.empty(2, *growth.shape, dtype=torch.float64).exponential_(generator=generator)
            noise = pair[0] - pair[1]
        return clipped + self.multiplier * self.max_norm * noise.to(growth)

    def epsilon(self) -> float:
        """Return epsilon of the estimate, for the data of one client."""
        if self.kind == 'laplace':
            return 2 / self.multiplier
        check_extra('federated', 'opacus')
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.step(noise_multiplier=self.multiplier / 2, sample_rate=1.0)
        epsilon = accountant.get_epsilon(self.delta)
        if not epsilon >= 0:
            raise InputError(f'ProxyNoise: opacus gives no epsilon for multiplier={self.multiplier}; raise it.')
        return float(epsilon)
