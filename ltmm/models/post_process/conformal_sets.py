"""Conformal prediction: sets of classes that hold the true one with a chosen probability."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import MissingInputError

from .base import PostProcess, add_mixin
from .search import uses_sigmoid

__all__ = ['ConformalSets', 'class_quantiles', 'conformal_quantile', 'nonconformity']


def nonconformity(probability: Tensor, prior: Tensor | None) -> Tensor:
    r"""Compute the score :math:`1 - \hat p_c / \pi_c`, or :math:`1 - \hat p_c` without a prior, float64, (N, C).

    Args:
        probability: (N, C).
        prior: Training class frequencies, (C,). 0 counts as the smallest other one.
    """
    probability = probability.double()
    if prior is None:
        return 1 - probability
    return 1 - probability / torch.where(prior > 0, prior, prior.masked_fill(prior <= 0, math.inf).min())


def _rank(num: Tensor, alpha: float) -> Tensor:
    r"""Rank from 1 of the quantile, :math:`\lceil (n + 1)(1 - \alpha) \rceil`; 10 * (1 - 0.7) is 3, not 4."""
    return ((num + 1) * (1 - alpha) - 1e-9).ceil().long()


def conformal_quantile(score: Tensor, alpha: float) -> Tensor:
    r"""Return the :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest score; infinity if there are too few.

    Args:
        score: Scores of the true classes, (n,).
        alpha: Share of errors.
    """
    rank = int(_rank(torch.tensor(float(len(score)), dtype=torch.float64), alpha))
    return score.new_tensor(math.inf) if rank > len(score) else score.sort().values[max(rank, 1) - 1]


def class_quantiles(score: Tensor, label: Tensor, num_classes: int, alpha: float) -> Tensor:
    """Return :func:`conformal_quantile` of the samples of each class, (C,).

    Args:
        score: Scores of the true classes, (n,).
        label: Class indices, (n,).
        num_classes: C.
        alpha: Share of errors.
    """
    order = score.argsort()
    order = order[label[order].argsort(stable=True)]  # by class, then by score
    count = label.bincount(minlength=num_classes)
    rank = _rank(count.double(), alpha).clamp(min=1)
    index = (count.cumsum(0) - count + rank - 1).clamp(max=len(score) - 1)
    return torch.where(rank > count, math.inf, score[order][index])


@MODELS.register_module()
class ConformalSets(UsesClassDistribution, PostProcess):
    r"""Predicts sets of classes, so that rare classes are covered nearly as often as frequent ones.

    .. math:: \{c : 1 - \hat p_c / \pi_c \le q\}

    q is the quantile of the scores of the true classes of the validation split. At least a share of :math:`1 - \alpha`
    of the test images have their class in the set, **if the validation split has the class mix of the test set**: for
    a balanced test set a balanced one. Dividing by the training prior makes the coverage of the classes more even at
    equal size of the sets; it suits a model trained without balancing.

    Between one threshold for all classes and one per class, :math:`q_c = w q_c^{class} + (1 - w) q`. Thresholds per
    class cover each class, but with fewer than :math:`1 / \alpha - 1` validation images that of a class is infinite and
    counts as 1: with w = 1 the class is in every set. The logits and the predicted class stay; predictions get
    ``pred_set``, booleans (C,), which ``ltmm.SetCoverageMetric`` evaluates.

    A class without training images has the prior of the rarest other one.

    References:
        [0] Ding et al., Conformal Prediction for Long-Tailed Classification, arXiv 2507.06867: PAS and Interp-Q.
        [1] Sadinle et al., Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, JASA 2019: the score
            ``'softmax'``.

    Args:
        alpha: Share of test images whose class may be missing.
        score: ``'prevalence'``, as above, or ``'softmax'``, :math:`1 - \hat p_c`.
        class_share: w, 0 for one threshold, 1 for one per class.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    needs_fit = True
    keeps_state = True
    has_to_be_last = True
    cost_on_balanced = 'puts rare classes into too many sets, though predictions stay'
    val_mix = 'test'
    processor = 'ltmm.ConformalPostProcessor'

    def __init__(
        self,
        alpha: float = 0.1,
        score: str = 'prevalence',
        class_share: float = 0.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        check(
            alpha=(alpha, 'in (0, 1)'), score=(score, ('prevalence', 'softmax')), class_share=(class_share, 'in [0, 1]')
        )
        self.alpha, self.score, self.class_share = alpha, score, class_share
        self.corrects_prior = score == 'prevalence'
        self.register_buffer('threshold', torch.zeros(0, dtype=torch.float64))  # (C,)
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('prior', distribution.prior)

    def fit(self, train: Any, val: Any) -> None:
        """Set the thresholds by the validation split."""
        own = self._scores(val.logits, val.head).gather(1, val.label[:, None])[:, 0]
        self.threshold = conformal_quantile(own, self.alpha).repeat(val.num_classes)
        if self.threshold.isinf().all():
            print_log(
                f'ConformalSets: {len(own)} validation images are too few for alpha={self.alpha:g}, at least '
                f'{math.ceil(1 / self.alpha - 1)} are needed: every set has all classes.',
                'current',
                logging.WARNING,
            )
        if self.class_share:
            per_class = class_quantiles(own, val.label, val.num_classes, self.alpha)
            mixed = self.class_share * per_class.clamp(max=1) + (1 - self.class_share) * self.threshold
            self.threshold = torch.where(self.threshold.isinf(), self.threshold, mixed)

    def sets(self, cls_score: Tensor, head: nn.Module) -> Tensor:
        """Whether each class is in the set, (N, C).

        Args:
            cls_score: Logits, (N, C).
            head: Head that computed the logits.
        """
        if not self.threshold.numel():
            raise MissingInputError(
                'ConformalSets is not fitted. Load a checkpoint written by '
                'python tools/post_process.py CONFIG CHECKPOINT --method conformal.'
            )
        return self._scores(cls_score, head) <= self.threshold

    def _scores(self, cls_score: Tensor, head: nn.Module) -> Tensor:
        cls_score = cls_score.double()
        probability = cls_score.sigmoid() if uses_sigmoid(head) else cls_score.softmax(1)
        if self.score == 'softmax':
            return nonconformity(probability, None)
        self.check_logits(cls_score)  # raises without a class distribution
        return nonconformity(probability, self.prior.to(probability))

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        return cls_score

    def attach(self, head: nn.Module) -> None:
        add_mixin(head, PredictsSets, conformal=self)

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(alpha=self.alpha, score=self.score, class_share=self.class_share, **counts)


class PredictsSets:
    """Mixin for a classification head: adds ``pred_set`` to its predictions."""

    conformal: ConformalSets

    def _get_predictions(self, cls_score: Tensor, data_samples: list[DataSample | None] | None) -> list[DataSample]:
        predictions = super()._get_predictions(cls_score, data_samples)
        if self.conformal.enabled:
            for sample, members in zip(predictions, self.conformal.sets(cls_score, self)):
                sample.set_field(members, 'pred_set')
        return predictions
