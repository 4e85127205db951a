"""Evidential uncertainty of experts, and how much each counts after those before it."""

import math

import torch
from torch import Tensor

__all__ = ['evidential_weights', 'log_evidential_weights']


def log_evidential_weights(expert_logits: Tensor) -> Tensor:
    r"""Compute the logarithm of :func:`evidential_weights`, (E + 1, N), finite for any finite logits."""
    log_classes = expert_logits.new_tensor(math.log(expert_logits.size(-1)))
    log_evidence = expert_logits.logsumexp(-1)  # (E, N)
    log_strength = torch.logaddexp(log_evidence, log_classes)
    log_uncertainty, log_total = log_classes - log_strength, log_evidence - log_strength  # log u, log(1 - u)
    log_belief = expert_logits - log_strength.unsqueeze(-1)  # (E, N, C)
    log_agreement = torch.stack(  # 1 - K = u_before + (1 - u_before) u + sum_c b_before b, without a difference
        [
            log_uncertainty[:-1],
            log_total[:-1] + log_uncertainty[1:],
            (log_belief[:-1] + log_belief[1:]).logsumexp(-1),
        ]
    ).logsumexp(0)
    log_ratio = torch.cat([log_uncertainty[:1], log_uncertainty[1:] - log_agreement])
    return torch.cat([torch.zeros_like(log_ratio[:1]), log_ratio.cumsum(0)])


def evidential_weights(expert_logits: Tensor) -> Tensor:
    r"""Compute the weights of the experts from the uncertainty of those before, (E + 1, N); the first weight is 1.

    With evidence :math:`e^z` of each class, an expert has beliefs :math:`b_c = e^{z_c} / S` and uncertainty
    :math:`u = C / S`, :math:`S = \sum_c (e^{z_c} + 1)`. The weights of all later experts are multiplied by
    :math:`u / (1 - K)`, where K is the conflict between its beliefs and those of the expert before it.

    Args:
        expert_logits: (E, N, C).
    """
    return log_evidential_weights(expert_logits).exp()
