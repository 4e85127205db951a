"""Losses of clients: one balanced softmax per expert, and LADE."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.losses import ClassPriorLoss, LossInputs
from ltmm.models.losses.expert import ExpertLoss, expert_cross_entropy
from ltmm.models.losses.expert.base import LOG_EPS
from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['GBMELoss', 'LADELoss', 'lade_regularizer']


@MODELS.register_module()
class GBMELoss(ExpertLoss):
    r"""Balanced softmax of every expert with the prior of all clients, so that no client favors its own head classes.

    .. math:: \sum_e \mathrm{CE}(z_e + \log(\hat\pi + 10^{-9}),\, y)

    While a single expert trains, see :meth:`set_expert`, its term alone counts, times ``expert_factor``. Predict with
    the mean of the plain logits. The prior is what the loop of the federated training hands out.

    [0] Zeng et al., Global Balanced Experts for Federated Long-tailed Learning, ICCV 2023.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``FDGELoss``. Reproduces [1] to 1e-6
        (tests/conformance, ``fed_gbme`` and ``trajectory_gbme``).

    Args:
        expert_factor: Factor of the loss of a single expert. Default: E, as [1] intends; it trains with 5, whatever E.
        **kwargs: Arguments of :class:`~ltmm.models.losses.expert.ExpertLoss`.
    """

    def __init__(self, *, expert_factor: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if expert_factor is not None:
            check(expert_factor=(expert_factor, '> 0'))
        self.expert_factor, self.expert = expert_factor, None

    def set_expert(self, expert: int | None) -> None:
        """Train one expert, or all of them (None)."""
        self.expert = expert

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('log_prior', torch.as_tensor(distribution.prior + LOG_EPS).log())

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits = inputs.expert_logits  # (E, N, C)
        experts = range(len(logits)) if self.expert is None else [self.expert]
        factor = 1.0 if self.expert is None else self.expert_factor or len(logits)
        adjusted = logits[list(experts)] + self.log_prior.to(logits)
        losses = expert_cross_entropy(adjusted, inputs.label, class_factor=self.class_factor(logits))
        return {f'loss_expert{e}': factor * loss for e, loss in zip(experts, losses)}


def lade_regularizer(
    cls_score: Tensor, label: Tensor, log_prior: Tensor, prior: Tensor, second_moment: float
) -> Tensor:
    r"""Compute the term of LADE that keeps logits of all classes on one scale, frequent classes counting more, ().

    .. math::
        -\sum_c \pi_c \Big(\frac{1}{n_c} \sum_{y_i = c} z_{ic} - r_c - \lambda r_c^2\Big), \qquad
        r_c = \log \frac1N \sum_i \frac{e^{z_{ic}}}{C \pi_c}

    A class without an image in the batch has no first term.

    Args:
        cls_score: z, (N, C).
        label: Class indices, (N,).
        log_prior: Log of the prior, (C,), finite.
        prior: :math:`\pi`, (C,).
        second_moment: :math:`\lambda`.
    """
    num_samples, num_classes = cls_score.shape
    onehot = F.one_hot(label, num_classes).to(cls_score)
    of_class = (cls_score * onehot).sum(0) / (onehot.sum(0) + 1e-8)
    uniform = torch.full_like(log_prior, 1 / num_classes + LOG_EPS).log()
    ratio = (cls_score - log_prior + uniform).logsumexp(0) - torch.full_like(prior, num_samples).log()
    return -(prior * (of_class - ratio - second_moment * ratio.square())).sum()


@MODELS.register_module()
class LADELoss(ClassPriorLoss):
    r"""Balanced softmax, and a term that keeps the logits of rare and frequent classes on one scale.

    .. math:: w\, \mathrm{CE}(z + \log(\pi + 10^{-9}),\, y) + \alpha\, \mathrm{LADER}(z, y)

    with :func:`lade_regularizer`. Predict with the plain logits. The second term is one number per batch, added to the
    loss of each image, so that weights of images scale both.

    [0] Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021, arXiv 2012.00321.
    [1] github.com/Spinozaaa/Federated-Long-tailed-Learning @9944e7a, ``PriorCELoss`` and ``LADELoss``. Reproduces [1]
        to 1e-6 (tests/conformance, ``fed_baselines``).

    Args:
        alpha: Weight of the second term; 0.1 in [0].
        ce_weight: w, weight of the first one.
        second_moment: :math:`\lambda` of the regularizer; 0.01 in [1].
        **kwargs: Arguments of :class:`~ltmm.models.losses.ClassPriorLoss`.
    """

    balances_classes = True
    needs_whole_batch = True

    def __init__(
        self, *, alpha: float = 0.1, ce_weight: float = 1.0, second_moment: float = 0.01, **kwargs: Any
    ) -> None:
        check(alpha=(alpha, '>= 0'), ce_weight=(ce_weight, '>= 0'), second_moment=(second_moment, '>= 0'))
        super().__init__(**kwargs)
        self.alpha, self.ce_weight, self.second_moment = alpha, ce_weight, second_moment

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('prior', distribution.prior)
        self.register_derived('log_prior', torch.as_tensor(distribution.prior + LOG_EPS).log())

    def unreduced(self, cls_score: Tensor, label: Tensor) -> Tensor:
        log_prior, prior = self.log_prior.to(cls_score), self.prior.to(cls_score)
        loss = self.ce_weight * F.cross_entropy(cls_score + log_prior, label, reduction='none')
        if not len(label):
            return loss
        return loss + self.alpha * lade_regularizer(cls_score, label, log_prior, prior, self.second_moment)

    def extra_repr(self) -> str:
        return f'alpha={self.alpha}, ce_weight={self.ce_weight}, second_moment={self.second_moment}'
