"""ACR, which adapts its pseudo-labels to the class prior of the unlabeled images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.layers.two_branch_linear import TwoBranchLinear
from ltmm.models.state.base import TrainingState, gather_rows
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.prior_estimate import PriorEstimate
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from ..objective import LossInputs
from .base import SemiSupervisedLoss, consistency, supervised

__all__ = ['ACRLoss', 'adjustment', 'anchor_priors', 'confident_classes', 'symmetric_kl']

ESTIMATORS = ('code', 'histogram')


def adjustment(prior: Tensor, tau: float | Tensor) -> Tensor:
    r"""Return :math:`\log(\pi^\tau + 10^{-12})`, (C,), which raises the logits of frequent classes."""
    return (prior**tau + 1e-12).log()


def anchor_priors(prior: np.ndarray) -> np.ndarray:
    """Return a prior, the uniform one, and the prior reversed: the rarest class as frequent as the first; (3, C)."""
    order = np.argsort(-prior, kind='stable')  # with classes sorted by frequency, the reversed prior is a flip
    reverse = np.empty_like(prior)
    reverse[order] = prior[order[::-1]]
    return np.stack([prior, np.full_like(prior, 1 / len(prior)), reverse])


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    r"""Return :math:`\frac12 \mathrm{KL}(p \| q) + \frac12 \mathrm{KL}(q \| p)` over the last dimension."""
    p, q = (x.clamp(min=torch.finfo(x.dtype).tiny) for x in (p, q))
    return 0.5 * ((p - q) * (p.log() - q.log())).sum(-1)


def confident_classes(label: Tensor, mask: Tensor, num_classes: int, estimator: str) -> Tensor:
    """Count the confident predictions of each class in a batch, (C,); ``'code'``: 1 where the last one is confident.

    Args:
        label: Predicted classes, (M,).
        mask: Whether each counts, (M,).
        num_classes: C.
        estimator: ``'histogram'`` counts; ``'code'`` keeps one value per class, that of the last image of the class, as
            the assignment ``counts[label] = mask`` of the authors does on a CPU.
    """
    mask = mask.double()
    if estimator == 'histogram':
        return mask.new_zeros(num_classes).index_add_(0, label, mask)
    rows = torch.arange(1, len(label) + 1, device=label.device)
    last = rows.new_zeros(num_classes).scatter_reduce_(0, label, rows, 'amax')  # 1 + row; 0 for no row
    return torch.cat([mask.new_zeros(1), mask])[last]


class AdaptiveTau(TrainingState):
    """Strength of the adjustment, from how far the estimated prior is from the three anchors.

    Args:
        tau: Largest strength, and that of the start.

    Attributes:
        tau: Present strength, float64.
        distances: Distances of the estimate from labeled, uniform and reversed prior, summed over steps, (3,), float64.
    """

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.max_tau = tau
        self.register_buffer('tau', torch.tensor(tau, dtype=torch.float64))
        self.register_buffer('distances', torch.zeros(3, dtype=torch.float64))

    @torch.no_grad()
    def add(self, distances: Tensor) -> None:
        """Add the distances of a step, (3,); does nothing in evaluation mode."""
        if self.training:
            self.distances += distances

    @torch.no_grad()
    def restart(self, num_steps: int) -> None:
        """Follow the mean distances over so many steps: the farther from the labeled prior, the stronger."""
        if self.training:
            self.tau.copy_(self.max_tau * (self.distances / num_steps).softmax(0)[0])
            self.distances.zero_()


@MODELS.register_module()
class ACRLoss(UsesClassDistribution, UsesProgress, SemiSupervisedLoss):
    r"""Gives rare classes more pseudo-labels, the more the unlabeled images differ from the labeled ones in prior.

    Two classifiers on one network: f, ``uniform`` of ``ltmm.TwoBranchLinear``, learns the prior of the labeled images;
    :math:`\tilde f`, the layer that predicts, is balanced. With :math:`a(\tau) = \log(\pi^\tau + 10^{-12})` of the
    labeled prior :math:`\pi`, weak views w and S strong views s of M unlabeled images:

    .. math::
        \mathrm{CE}(f(x), y) + \mathrm{CE}(\tilde f(x) + a(\tau_b), y)
        + \frac{1}{M S} \sum \big[ m \, \mathrm{CE}(f(s), \hat y) + \tilde m \, \mathrm{CE}(\tilde f(s), \tilde y) \big]

    The pseudo-labels are :math:`\hat y = \arg\max p_\tau` and :math:`\tilde y = \arg\max p_{\tau_p}` of
    :math:`p_\tau = \mathrm{softmax}((f(w) - a(\tau)) / T)`. The first counts where :math:`p_\tau` or the plain
    :math:`p_0` is confident, the second where :math:`p_{\tau_p}` or the softmax of :math:`\tilde f(w)` is.

    The prior of the unlabeled images is estimated from the confident predictions of :math:`\tilde f`, without images
    that are labeled ones too. Every ``interval`` steps :math:`\tau` becomes ``tau`` times the share that the labeled
    prior has in a softmax over the mean distances of the estimate from it, from the uniform prior and from the reversed
    one. All state is in the checkpoint, and equal on all ranks; that of [1] is lost in a resume. Statistics in the log
    are those of :math:`\tilde y`.

    References:
        [0] Wei and Gan, Towards Realistic Long-Tailed Semi-Supervised Learning: Consistency Is All You Need, CVPR 2023.
        [1] github.com/Gank0078/ACR @9a8f421. Reproduces [1] to 1e-6 (tests/conformance, ``acr`` and
            ``trajectory_acr``). Its reversed prior is a flip, for classes sorted by frequency; here it is that of the
            ranks.

    Args:
        threshold: Confidence from which on pseudo-labels are used.
        temperature: T.
        tau: Largest :math:`\tau`.
        tau_pseudo: :math:`\tau_p`.
        tau_balanced: :math:`\tau_b`.
        momentum: Of the estimate; 0.99 in the commands of [1], 0.9 by default there.
        interval: Steps between two changes of :math:`\tau`; an epoch of [1].
        warmup: Intervals after the first one without an estimate.
        estimator: ``'code'`` of [1], where a class counts once per batch, if its last image is confident;
            ``'histogram'`` of [0] counts the confident images.
        class_counts: Labeled images per class. Default: taken from the training data.
    """

    requires = ('cls_score', 'features', 'classifier', 'unlabeled_score', 'unlabeled_features', 'also_labeled')
    balances_classes = True

    def __init__(
        self,
        *,
        threshold: float = 0.95,
        temperature: float = 1.0,
        tau: float = 2.0,
        tau_pseudo: float = 2.0,
        tau_balanced: float = 2.0,
        momentum: float = 0.99,
        interval: int = 500,
        warmup: int = 5,
        estimator: str = 'code',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        check(
            temperature=(temperature, '> 0'),
            tau=(tau, '>= 0'),
            tau_pseudo=(tau_pseudo, '>= 0'),
            tau_balanced=(tau_balanced, '>= 0'),
            momentum=(momentum, 'in [0, 1)'),
            interval=(interval, 'int >= 1'),
            warmup=(warmup, 'int >= 0'),
            estimator=(estimator, ESTIMATORS),
        )
        self.temperature, self.tau_pseudo, self.tau_balanced = temperature, tau_pseudo, tau_balanced
        self.interval, self.warmup, self.estimator = interval, warmup, estimator
        self.estimate, self.adaptive = PriorEstimate(0, momentum), AdaptiveTau(tau)
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        if len(distribution.empty_classes):
            raise ClassDistributionError(
                f'ACRLoss: expected labeled images of every class, but class {distribution.empty_classes[0]} has none.'
            )
        self.estimate.set_num_classes(distribution.num_classes)
        self.register_derived('anchors', anchor_priors(distribution.prior))

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        standard = inputs.classifier.uniform
        prior = self.anchors[0].to(inputs.cls_score)
        is_estimating = self.iter // self.interval > self.warmup
        if is_estimating and self.iter % self.interval == 0:
            self.adaptive.restart(self.interval)

        strong, balanced_strong = standard(inputs.unlabeled_features[1:]), inputs.unlabeled_score[1:]
        with torch.no_grad():
            weak, balanced_weak = standard(inputs.unlabeled_features[0]), inputs.unlabeled_score[0]
            (label, _, mask), pseudo = self.pseudo(weak, balanced_weak)
            if is_estimating and self.training:
                predicted, predicted_label = self._confidence(balanced_weak)
                self._estimate(predicted_label, (predicted >= self.threshold) & ~inputs.also_labeled)

        balanced = inputs.cls_score + adjustment(prior, self.tau_balanced)
        return dict(
            loss_labeled=supervised(standard(inputs.features), inputs.label),
            loss_unlabeled=consistency(strong, label, mask),
            loss_labeled_balanced=supervised(balanced, inputs.label),
            loss_unlabeled_balanced=consistency(balanced_strong, pseudo[0], pseudo[2]),
            tau=self.adaptive.tau.to(prior, copy=True),
            **self.report(inputs, *pseudo),
        )

    def pseudo(self, weak: Tensor, balanced_weak: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return label, confidence and mask, (M,) each, of the pseudo-labels of both branches, the standard one first.

        Args:
            weak: Logits of the weak views by the standard classifier, (M, C).
            balanced_weak: By the balanced classifier, (M, C); they only vote in the mask of the balanced branch.
        """
        prior, branches = self.anchors[0].to(weak), []
        for tau, voter in ((self.adaptive.tau.to(prior), weak), (self.tau_pseudo, balanced_weak)):
            confidence, label = self._confidence(weak - adjustment(prior, tau))
            branches.append((label, confidence, confidence.maximum(self._confidence(voter)[0]) >= self.threshold))
        return branches

    def _confidence(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest probability of each row and its class, (M,) and (M,)."""
        return (logits / self.temperature).softmax(1).max(1)

    def _estimate(self, label: Tensor, mask: Tensor) -> None:
        """Move the estimate by a batch, and add its distances from the anchors if any image was confident."""
        if self.estimator == 'code':
            label, mask = gather_rows(label, mask)
        steps = self.estimate.num_steps.clone()
        self.estimate.update(confident_classes(label, mask, len(self.estimate.prior), self.estimator))
        has_moved = self.estimate.num_steps - steps
        self.adaptive.add(has_moved * symmetric_kl(self.estimate.prior, self.anchors.to(self.estimate.prior)))

    def _check(self, inputs: LossInputs) -> None:
        super()._check(inputs)
        self.check_logits(inputs.cls_score)
        if not isinstance(inputs.classifier, TwoBranchLinear):
            raise InputTypeError(
                "ACRLoss needs classifier=dict(type='ltmm.TwoBranchLinear'), but got "
                f'{type(inputs.classifier).__name__}.'
            )

    def extra_repr(self) -> str:
        return (
            f'{super().extra_repr()}, tau={self.adaptive.max_tau}, interval={self.interval}, warmup={self.warmup}, '
            f'estimator={self.estimator!r}'
        )
