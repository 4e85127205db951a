"""SimPro: pseudo labels and losses for unlabeled data of any class distribution, which is estimated by EM."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state import UsesClassDistribution, UsesProgress
from ltmm.models.state.prior_estimate import PriorEstimate
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .acr_loss import adjustment
from .base import SemiSupervisedLoss, consistency, supervised

__all__ = ['SimProLoss']


@MODELS.register_module()
class SimProLoss(UsesClassDistribution, UsesProgress, SemiSupervisedLoss):
    r"""Estimates the class distribution of the unlabeled images, and learns from them as if classes were balanced.

    Pseudo-labels follow the estimate, so that those of frequent classes are more likely; both losses are shifted by the
    distribution of the images that they are taken over, so that rare classes get larger margins:

    .. math::
        q_j = \mathrm{softmax}(z_j + a(\pi^u)), \quad
        L = \frac{w}{V N} \sum_{i, v} \mathrm{CE}(z_i^v + a(\pi^m), y_i) + \frac{1}{M S} \sum_{j, s}
        \mathbb{1}[\max_c q_j^c \ge \theta] \, \mathrm{CE}(z_j^s + a(\pi^m), q_j), \quad
        a(\pi)_c = \log(\pi_c^\tau + 10^{-12})

    with V views of N labeled images, a weak view of M unlabeled images for the soft pseudo-labels :math:`q_j`, and S
    strong views. Predict with the plain logits. Every ``interval`` iterations the M step of EM moves the prior of the
    unlabeled images, uniform at the start, and that of all images, at the start that of the labeled ones:

    .. math::
        \pi^u \leftarrow m \pi^u + (1 - m) \frac{c}{1 + \sum_k c_k}, \quad
        \pi^m \leftarrow m \pi^m + (1 - m) \frac{c + n}{\sum_k c_k + n_k}

    where c sums the confident pseudo-labels :math:`q_j` of these iterations, and n counts their labels. A class that is
    never seen gets the offset -27.6. Unlike in [1], the priors are in the checkpoint and the same on all ranks.

    References:
        [0] Du et al., SimPro: A Simple Probabilistic Framework Towards Realistic Long-Tailed Semi-Supervised Learning,
            ICML 2024, arXiv 2402.13505.
        [1] github.com/LeapLabTHU/SimPro @aa2425d. Not compared with numbers of [1]; the tests derive the formulas anew.

    Args:
        tau: :math:`\tau`; 2 on CIFAR-10 and STL-10 in [1].
        threshold: :math:`\theta`; 0.2 on CIFAR-100 in [1].
        labeled_weight: w. In [1] the batches of a pass over the labeled images by those of a pass over the unlabeled
            ones: with N', M' images and :math:`\mu` unlabeled images per labeled one in a batch, :math:`\mu N' / M'`.
        momentum: m.
        interval: Iterations between updates of the priors.
        class_counts: Labeled images per class. Default: taken from the training data.
    """

    balances_classes = True

    def __init__(
        self,
        *,
        tau: float = 1.0,
        threshold: float = 0.95,
        labeled_weight: float = 1.0,
        momentum: float = 0.9,
        interval: int = 500,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        check(tau=(tau, '>= 0'), labeled_weight=(labeled_weight, '>= 0'), interval=(interval, 'int >= 1'))
        self.tau, self.labeled_weight, self.interval = tau, labeled_weight, interval
        self.unlabeled, self.mixture = PriorEstimate(0, momentum, offset=1), PriorEstimate(0, momentum)
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        for estimate in (self.unlabeled, self.mixture):
            estimate.set_num_classes(distribution.num_classes)
        self.mixture.start_from(torch.as_tensor(distribution.prior))

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        weak, strong = inputs.unlabeled_score[0].detach(), inputs.unlabeled_score[1:]
        target = (weak + adjustment(self.unlabeled.prior, self.tau).to(weak)).softmax(1)  # (M, C)
        confidence, label = target.max(1)
        mask = confidence >= self.threshold
        offset = adjustment(self.mixture.prior, self.tau).to(weak)
        self._update(target * mask.unsqueeze(1), inputs.label)
        return dict(
            loss_labeled=self.labeled_weight * supervised(inputs.cls_score + offset, inputs.label),
            loss_unlabeled=consistency(strong + offset, target, mask),
            **self.report(inputs, label, confidence, mask),
        )

    def _update(self, pseudo_labels: Tensor, label: Tensor) -> None:
        """Count pseudo-labels, (M, C), and labels, (N,); after ``interval`` iterations, move the priors."""
        counts = pseudo_labels.double().sum(0)
        self.unlabeled.add(counts)
        self.mixture.add(counts.index_add(0, label, torch.ones_like(label, dtype=counts.dtype)))
        if (self.iter + 1) % self.interval == 0:
            self.unlabeled.step()
            self.mixture.step()

    def _check(self, inputs: LossInputs) -> None:
        super()._check(inputs)
        self.check_logits(inputs.cls_score)

    def extra_repr(self) -> str:
        return f'tau={self.tau}, labeled_weight={self.labeled_weight}, interval={self.interval}, {super().extra_repr()}'
