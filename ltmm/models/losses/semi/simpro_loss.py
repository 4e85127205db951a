"""SimPro: pseudo labels and losses for unlabeled data of any class distribution, which is estimated by EM."""

from torch import Tensor

__all__ = ['simpro_adjustment', 'simpro_priors']


def simpro_adjustment(prior: Tensor, tau: float) -> Tensor:
    r"""Compute the offset of the logits :math:`\log(\pi_c^\tau + 10^{-12})`, (C,); -27.6 for a class with prior 0.

    Args:
        prior: Class distribution, (C,).
        tau: Its exponent.
    """
    return (prior**tau + 1e-12).log()


def simpro_priors(
    unlabeled_prior: Tensor, mixture_prior: Tensor, pseudo_counts: Tensor, label_counts: Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    r"""Move the class distributions toward those of the last iterations (the M step of EM).

    .. math::
        \pi^u \leftarrow (1 - m) \pi^u + m \frac{c}{1 + \sum_k c_k}, \quad
        \pi^m \leftarrow (1 - m) \pi^m + m \frac{c + n}{\sum_k c_k + n_k}

    Without confident pseudo labels, c = 0, the proportions of :math:`\pi^u` stay. It may sum up to less than 1, which
    no softmax can tell.

    Args:
        unlabeled_prior: :math:`\pi^u`, of the unlabeled data, (C,).
        mixture_prior: :math:`\pi^m`, of labeled and unlabeled data together, (C,).
        pseudo_counts: c, the sum of the confident soft pseudo labels, (C,).
        label_counts: n, how often each label occurred in the batches, (C,).
        momentum: m.
    """
    counts = pseudo_counts + label_counts
    unlabeled = pseudo_counts / (1 + pseudo_counts.sum())
    mixture = counts / counts.sum().clamp(min=1)
    return unlabeled_prior.lerp(unlabeled, momentum), mixture_prior.lerp(mixture, momentum)
