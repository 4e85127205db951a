"""ADELLO: labeled and unlabeled data debiased toward a class distribution that becomes balanced in training."""

from collections.abc import Sequence

from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state import UsesClassDistribution, UsesProgress
from ltmm.models.state.prior_estimate import PriorEstimate
from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..objective import LossInputs
from .base import SemiSupervisedLoss, consistency, supervised

__all__ = ['ADELLOLoss', 'adello_adjustment', 'adello_alpha', 'adello_target_prior']


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


@MODELS.register_module()
class ADELLOLoss(UsesClassDistribution, UsesProgress, SemiSupervisedLoss):
    r"""Debiases toward a class distribution that goes from that of the unlabeled images to a nearly balanced one.

    Early in training, rare classes are learned as rare, with calibrated pseudo-labels; at the end they get margins:

    .. math::
        L = \frac{1}{N} \sum_i \mathrm{CE}(z_i + b(\pi), y_i) + \frac{1}{M S} \sum_{j, s}
        \begin{cases}
            \mathrm{CE}(z_j^s + b(\hat p), \arg\max_c p_j^c) & \max_c p_j^c \ge \theta \\
            \lambda_t \, \mathrm{CE}(z_j^s + b(\hat p), p_j) & \text{otherwise}
        \end{cases}, \quad
        b(\pi)_c = \log \frac{\pi_c + 10^{-9}}{q_c + 10^{-9}}, \quad
        q \propto \hat p^{\alpha_t}, \quad \alpha_t = 1 - (1 - \alpha_{min}) (t / T)^k

    with the prior :math:`\pi` of the labeled images, probabilities :math:`p_j` of the plain logits of a weak view of M
    unlabeled images, and S strong views. :math:`\hat p`, uniform at the start, is the moving average of the mean
    :math:`p_j` of each batch, without images that are also in the labeled part. :math:`\lambda_t` is 0 up to
    ``ccr_start``: the consistency with doubtful images (complementary consistency regularization) begins later. Predict
    with the plain logits. Unlike in [1], :math:`\hat p` is in the checkpoint and the same on all ranks.

    References:
        [0] Sanchez Aimar et al., Flexible Distribution Alignment: Towards Long-Tailed Semi-Supervised Learning with
            Proper Calibration, ECCV 2024, arXiv 2306.04621.
        [1] github.com/emasa/ADELLO-LTSSL @b5f6013. Not compared with numbers of [1]; the tests derive the formulas
            anew. Without the temperature of [1], which its configs for CIFAR-100 do not use.

    Args:
        threshold: :math:`\theta`.
        alpha_min: :math:`\alpha_{min}`, at the end of the training.
        power: k.
        momentum: Of :math:`\hat p`.
        ccr_start: Share of the training before the consistency with doubtful images begins; 50,000 of 262,144
            iterations in [1].
        ccr_weight: :math:`\lambda_t` from then on.
        class_counts: Labeled images per class. Default: taken from the training data.
    """

    balances_classes = True

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        alpha_min: float = 0.1,
        power: float = 2.0,
        momentum: float = 0.999,
        ccr_start: float = 50_000 / 262_144,
        ccr_weight: float = 1.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        check(alpha_min=(alpha_min, 'in [0, 1]'), power=(power, '> 0'))
        check(ccr_start=(ccr_start, 'in [0, 1]'), ccr_weight=(ccr_weight, '>= 0'))
        self.alpha_min, self.power, self.ccr_start, self.ccr_weight = alpha_min, power, ccr_start, ccr_weight
        self.unlabeled = PriorEstimate(0, momentum)
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.unlabeled.set_num_classes(distribution.num_classes)
        self.register_derived('labeled_prior', distribution.prior)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        weak, strong = inputs.unlabeled_score[0].detach(), inputs.unlabeled_score[1:]
        probabilities = weak.softmax(1)  # (M, C)
        confidence, label = probabilities.max(1)
        mask = confidence >= self.threshold
        progress, prior = self.iter / self.max_iters, self.unlabeled.prior
        target = adello_target_prior(prior, adello_alpha(progress, self.alpha_min, self.power))
        labeled_offset = adello_adjustment(self.labeled_prior, target).to(weak)
        strong = strong + adello_adjustment(prior, target).to(weak)
        truly_unlabeled = True if inputs.also_labeled is None else ~inputs.also_labeled.unsqueeze(1)
        self.unlabeled.update((probabilities.double() * truly_unlabeled).sum(0))
        ccr_weight = self.ccr_weight * (progress >= self.ccr_start)
        return dict(
            loss_labeled=supervised(inputs.cls_score + labeled_offset, inputs.label),
            loss_unlabeled=consistency(strong, label, mask),
            loss_ccr=ccr_weight * consistency(strong, probabilities, ~mask),
            **self.report(inputs, label, confidence, mask),
        )

    def _check(self, inputs: LossInputs) -> None:
        super()._check(inputs)
        self.check_logits(inputs.cls_score)

    def extra_repr(self) -> str:
        values = ('alpha_min', 'power', 'ccr_start', 'ccr_weight')
        return ', '.join(f'{name}={getattr(self, name):g}' for name in values) + f', {super().extra_repr()}'
