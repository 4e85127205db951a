"""ADELLO: labeled and unlabeled data debiased toward a class distribution that becomes balanced in training."""

from torch import Tensor

__all__ = ['adello_adjustment', 'adello_alpha', 'adello_target_prior']


def adello_alpha(progress: float, alpha_min: float, power: float) -> float:
    r"""Compute :math:`\alpha_t = 1 - (1 - \alpha_{min}) (t / T)^k`, which falls from 1 to :math:`\alpha_{min}`.

    Args:
        progress: t / T, the share of the training that is done.
        alpha_min: :math:`\alpha_{min}`.
        power: k.
    """
    return 1 - (1 - alpha_min) * progress**power


def adello_target_prior(prior: Tensor, alpha: float) -> Tensor:
    r"""Compute :math:`q_c \propto \hat p_c^\alpha`, (C,): the prior itself for alpha 1, balanced for alpha 0.

    Args:
        prior: Estimated class distribution of the unlabeled data, (C,).
        alpha: :math:`\alpha_t`.
    """
    smoothed = prior**alpha
    return smoothed / smoothed.sum()


def adello_adjustment(source: Tensor, target: Tensor) -> Tensor:
    r"""Compute the offset of the logits :math:`\log \frac{\pi_c + 10^{-9}}{q_c + 10^{-9}}`, (C,).

    A cross entropy with it, on data of the source distribution, makes the plain logits those of a classifier trained on
    data of the target distribution.

    Args:
        source: :math:`\pi`, (C,).
        target: q, (C,).
    """
    return (source + 1e-9).log() - (target + 1e-9).log()
